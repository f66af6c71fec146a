// D4: a program's own handlers run as they would, whatever the order of handler and directory, and when the program goes
// back to SIG_DFL the removal is back too.
#include "victim.h"

#include <setjmp.h>

// Old interfaces are deprecated; legacy binaries are what this is about.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static char dir[] = "d.XXXXXX";
static volatile sig_atomic_t runs;
static sigjmp_buf back;

static void make(void) { CHECK(mkdtemp(dir) == dir); }

static void count(int sig)
{
    (void)sig;
    runs++;
    CHECK(exists(dir));
}

static void jump(int sig)
{
    (void)sig;
    runs++;
    siglongjmp(back, 1);
}

// The usual last act of a cleaning program: restore the default and send the signal once more.
static void again(int sig)
{
    CHECK(exists(dir));
    put(in(dir, "last"), "words");
    signal(sig, SIG_DFL);
    raise(sig);
}

static void again_at_once(int sig)
{
    sigset_t one;
    CHECK(exists(dir));
    signal(sig, SIG_DFL);
    sigemptyset(&one);
    sigaddset(&one, sig);
    kill(getpid(), sig);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    _exit(99);
}

// With SA_RESETHAND the kernel itself has gone back to the default.
static void once_again(int sig)
{
    struct sigaction now;
    runs++;
    CHECK(exists(dir) && runs == 1);
    CHECK(sigaction(sig, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
    raise(sig);
}

static void once(int sig)
{
    (void)sig;
    runs++;
    CHECK(exists(dir) && runs == 1);
}

static void install(int sig, void (*handler)(int), int flags)
{
    struct sigaction set = { .sa_handler = handler, .sa_flags = flags }, old;
    CHECK(sigaction(sig, &set, &old) == 0 && old.sa_handler == SIG_DFL);
}

static void handler_then_default(int sig)
{
    make();
    install(sig, count, 0);
    for (int i = 1; i <= 3; i++) {
        raise(sig);
        CHECK(runs == i);
    }
    CHECK(signal(sig, SIG_DFL) == count);
    raise(sig);
}

static void handler_before_directory(int sig)
{
    install(sig, count, SA_RESTART);
    make();
    raise(sig);
    CHECK(runs == 1);
    struct sigaction now;
    CHECK(sigaction(sig, NULL, &now) == 0 && now.sa_handler == count && (now.sa_flags & SA_RESTART));
    CHECK(signal(sig, SIG_DFL) == count);
    raise(sig);
}

static void raised_again(int sig) { make(); install(sig, again, 0); raise(sig); }
static void raised_again_before(int sig) { install(sig, again, 0); make(); raise(sig); }
static void raised_at_once(int sig) { make(); install(sig, again_at_once, 0); raise(sig); }
static void reset_and_raised(int sig) { make(); install(sig, once_again, SA_RESETHAND); raise(sig); }
static void reset_deferred(int sig) { make(); install(sig, once_again, SA_RESETHAND | SA_NODEFER); raise(sig); }
static void reset_before(int sig) { install(sig, once, SA_RESETHAND); make(); raise(sig); raise(sig); }

static void reset_and_later(int sig)
{
    make();
    install(sig, once, SA_RESETHAND);
    raise(sig);
    CHECK(runs == 1 && exists(dir) && signal(sig, SIG_DFL) == SIG_DFL);
    raise(sig);
}

// The handler has been used up before there was anything to remove.
static void reset_then_directory(int sig)
{
    make();
    install(sig, once, SA_RESETHAND);
    raise(sig);
    char second[] = "e.XXXXXX";
    CHECK(mkdtemp(second) == second);
    raise(sig);
}

static void jumped(int sig)
{
    make();
    install(sig, jump, 0);
    for (volatile int i = 1; i <= 3; i++) {
        if (sigsetjmp(back, 1) == 0)
            raise(sig);
        CHECK(runs == i && exists(dir));
    }
    CHECK(signal(sig, SIG_DFL) == jump);
    raise(sig);
}

// An ignored signal, and one whose handler is removed by ignoring: neither ends anything.
static void ignored(int sig)
{
    make();
    CHECK(signal(sig, SIG_IGN) == SIG_DFL);
    raise(sig);
    CHECK(signal(sig, count) == SIG_IGN);
    CHECK(signal(sig, SIG_IGN) == count);
    raise(sig);
    CHECK(runs == 0 && exists(dir));
    CHECK(signal(sig, SIG_DFL) == SIG_IGN);
    raise(sig);
}

// nohup: ignored from before the directory, and never anything else.
static void ignored_before(int sig)
{
    CHECK(signal(sig, SIG_IGN) == SIG_DFL);
    make();
    raise(sig);
    kill(getpid(), sig);
    CHECK(exists(dir));
    CHECK(signal(sig, SIG_DFL) == SIG_IGN);
    raise(sig);
}

static void held(int sig)
{
    make();
    CHECK(sigset(sig, SIG_HOLD) == SIG_DFL);
    raise(sig);
    CHECK(exists(dir));
    CHECK(sigset(sig, SIG_DFL) == SIG_HOLD);
    _exit(99);
}

static void interrupting(int sig)
{
    make();
    CHECK(siginterrupt(sig, 1) == 0);
    raise(sig);
}

static void value_arrives(int sig, siginfo_t *info, void *context)
{
    CHECK(context && info->si_signo == sig && info->si_code == SI_QUEUE && info->si_value.sival_int == 4711);
    runs++;
}

static void with_value(int sig)
{
    make();
    struct sigaction set = { .sa_sigaction = value_arrives, .sa_flags = SA_SIGINFO };
    CHECK(sigaction(sig, &set, NULL) == 0);
    CHECK(sigqueue(getpid(), sig, (union sigval) { .sival_int = 4711 }) == 0 && runs == 1);
    CHECK(signal(sig, SIG_DFL) != SIG_ERR);
    raise(sig);
}

static void (*const ways[])(int) = {
    handler_then_default, handler_before_directory, raised_again, raised_again_before, raised_at_once, reset_and_raised,
    reset_deferred, reset_before, reset_and_later, reset_then_directory, jumped, ignored, ignored_before, held,
    interrupting, with_value,
};

struct how {
    size_t way;
    int sig;
};

static void play(const void *arg)
{
    const struct how *how = arg;
    ways[how->way](how->sig);
    _exit(98);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    EVERY_DEADLY_SIGNAL(sig)
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            struct how how = { w, sig };
            int status = watch(play, &how);
            CHECKF(killed(status, sig), "way %zu, signal %d: status %#x", w, sig, status);
            CHECKF(count_names(".", "") == 0, "way %zu, signal %d", w, sig);
        }
    return 0;
}
