// D2, D4: every signal whose default ends a program, however it is sent, removes the directory and then ends the program
// as it would have without one: the same signal, and a core dump where there would have been one.
#include "victim.h"

#include <pthread.h>

static pthread_t target;

static void *wait_here(void *unused)
{
    (void)unused;
    for (;;)
        pause();
    return NULL;
}

static void by_kill(int sig) { kill(getpid(), sig); }
static void by_raise(int sig) { raise(sig); }
static void by_group(int sig) { setpgid(0, 0); kill(0, sig); }
static void by_queue(int sig) { sigqueue(getpid(), sig, (union sigval) { .sival_int = 42 }); }
static void by_tgkill(int sig) { syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig); }
static void by_thread(int sig) { pthread_kill(target, sig); }

static void *raise_in_thread(void *sig)
{
    raise((int)(size_t)sig);
    return NULL;
}

static void raised_by_thread(int sig)
{
    pthread_t t;
    CHECK(pthread_create(&t, NULL, raise_in_thread, (void *)(size_t)sig) == 0);
}

static void (*const senders[])(int) = { by_kill, by_raise, by_group, by_queue, by_tgkill, by_thread, raised_by_thread };

struct how {
    int sig;
    size_t sender;
    int tracks;
};

static void play(const void *arg)
{
    const struct how *how = arg;
    struct rlimit core;
    getrlimit(RLIMIT_CORE, &core);
    core.rlim_cur = core.rlim_max;
    setrlimit(RLIMIT_CORE, &core);
    CHECK(chdir("scratch") == 0);
    if (how->tracks) {
        char dir[] = "../d.XXXXXX";
        CHECK(mkdtemp(dir) == dir);
        put(in(dir, "content"), "x");
    }
    CHECK(pthread_create(&target, NULL, wait_here, NULL) == 0);
    senders[how->sender](how->sig);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    CHECK(mkdir("scratch", 0755) == 0);
    int tried = 0;
    EVERY_DEADLY_SIGNAL(sig) {
        for (size_t s = 0; s < sizeof senders / sizeof *senders; s++) {
            struct how with = { sig, s, 1 }, without = { sig, s, 0 };
            int status = watch(play, &with), native = watch(play, &without);
            CHECKF(status == native, "signal %d, sender %zu: status %#x, not %#x", sig, s, status, native);
            CHECKF(killed(native, sig), "signal %d, sender %zu: status %#x", sig, s, native);
            GONE(count_names(".", "") == 1, "signal %d, sender %zu", sig, s);
        }
        tried++;
    }
    // musl keeps one real-time signal more for itself than glibc.
    CHECKF(tried >= 64 - 9 - 3, "%d signals", tried);
    scrub("scratch");
    return 0;
}
