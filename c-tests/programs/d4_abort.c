// D4: abort() ends by SIGABRT whatever the program did to that signal, and the directory is there until then.
#include "victim.h"

#include <pthread.h>
#include <setjmp.h>

static char dir[] = "d.XXXXXX";
static sigjmp_buf back;
static volatile sig_atomic_t runs;

static void returning(int sig)
{
    (void)sig;
    CHECK(exists(dir));
}

static void jumping(int sig)
{
    (void)sig;
    runs++;
    siglongjmp(back, 1);
}

static void plain(void) {}
static void ignoring(void) { CHECK(signal(SIGABRT, SIG_IGN) == SIG_DFL); }
static void handling(void) { CHECK(signal(SIGABRT, returning) == SIG_DFL); }

static void blocking(void)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGABRT);
    CHECK(sigprocmask(SIG_BLOCK, &one, NULL) == 0);
}

// A program that survives its own abort, as test frameworks do, goes on using the directory.
static void surviving(void)
{
    CHECK(signal(SIGABRT, jumping) == SIG_DFL);
    if (sigsetjmp(back, 1) == 0)
        abort();
    CHECK(runs == 1 && exists(dir));
    put(in(dir, "after"), "the abort");
    CHECK(signal(SIGABRT, SIG_DFL) == jumping);
}

static void *abort_here(void *unused)
{
    (void)unused;
    abort();
}

static void elsewhere(void)
{
    pthread_t t;
    CHECK(pthread_create(&t, NULL, abort_here, NULL) == 0);
    pthread_join(t, NULL);
}

static void (*const ways[])(void) = { plain, ignoring, handling, blocking, surviving, elsewhere };

static void play(const void *way)
{
    CHECK(mkdtemp(dir) == dir);
    ways[*(const size_t *)way]();
    abort();
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        int status = watch(play, &w);
        CHECKF(killed(status, SIGABRT), "way %zu: status %#x", w, status);
        CHECKF(count_names(".", "") == 0, "way %zu", w);
    }
    return 0;
}
