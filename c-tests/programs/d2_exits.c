// D2: every way a program can end without a signal removes what it made, and the exit code stays what it was.
#include "victim.h"

#include <err.h>
#include <pthread.h>

static void by_exit(void) { exit(7); }
static void by_exit_low(void) { _exit(7); }
static void by_exit_iso(void) { _Exit(7); }
static void by_quick_exit(void) { quick_exit(7); }
static void by_exit_group(void) { syscall(SYS_exit_group, 7); }

static void by_errx(void)
{
    CHECK(freopen("/dev/null", "w", stderr));
    errx(7, "the program's own complaint");
}

static void *exit_7(void *unused) { (void)unused; exit(7); }
static void *exit_low_7(void *unused) { (void)unused; _exit(7); }
static void *quick_exit_7(void *unused) { (void)unused; quick_exit(7); }
static void *exit_group_7(void *unused) { (void)unused; syscall(SYS_exit_group, 7); return NULL; }

static void in_thread(void *(*body)(void *))
{
    pthread_t t;
    CHECK(pthread_create(&t, NULL, body, NULL) == 0);
    for (;;)
        pause();
}

static void by_thread_exit(void) { in_thread(exit_7); }
static void by_thread_exit_low(void) { in_thread(exit_low_7); }
static void by_thread_quick_exit(void) { in_thread(quick_exit_7); }
static void by_thread_exit_group(void) { in_thread(exit_group_7); }

// The main thread goes first: the directory is still in use until the last one ends.
static int main_thread_is_gone(void)
{
    char line[256] = "";
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && read(fd, line, sizeof line - 1) > 0 && close(fd) == 0);
    return strstr(line, ") Z ") != NULL;
}

static void *outlive(void *dir)
{
    EVENTUALLY(main_thread_is_gone());
    CHECK(exists(dir));
    put(in(dir, "later"), "x");
    return NULL;
}

static char dir[] = "d.XXXXXX";

static void by_last_thread(void)
{
    pthread_t t;
    CHECK(pthread_create(&t, NULL, outlive, dir) == 0);
    pthread_exit(NULL);
}

static void *outlive_and_exit(void *dir)
{
    outlive(dir);
    exit(7);
}

static void by_last_thread_exit(void)
{
    pthread_t t;
    CHECK(pthread_create(&t, NULL, outlive_and_exit, dir) == 0);
    pthread_exit(NULL);
}

static void by_only_thread(void) { pthread_exit(NULL); }

// Eight threads end the program at once. Only one of them by exit() or quick_exit(): two are undefined.
static void *race(void *n)
{
    if (n == 0)
        exit(7);
    if ((size_t)n == 100)
        quick_exit(7);
    if ((size_t)n % 2)
        _exit(7);
    syscall(SYS_exit_group, 7);
    return NULL;
}

static void all_at_once(size_t first)
{
    pthread_t t;
    for (size_t i = 0; i < 8; i++)
        pthread_create(&t, NULL, race, (void *)(i ? i : first));
    for (;;)
        pause();
}

static void by_all_with_exit(void) { all_at_once(0); }
static void by_all_with_quick_exit(void) { all_at_once(100); }

static void play(const void *how)
{
    CHECK(mkdtemp(dir) == dir);
    put(in(dir, "content"), "x");
    (*(void (*const *)(void))how)();
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    if (argc > 2) {
        CHECK(mkdtemp(dir) == dir);
        put(in(dir, "content"), "x");
        if (strcmp(argv[2], "last thread") == 0)
            by_last_thread();
        if (strcmp(argv[2], "last thread's exit") == 0)
            by_last_thread_exit();
        return 7;
    }
    // In images of their own: in a forked child of musl 1.2.3, a main thread that ends first keeps a lock for ever.
    static const struct { const char *role; int code; } images[] = {
        { "return", 7 }, { "last thread", 0 }, { "last thread's exit", 7 },
    };
    for (int i = 0; i < 3; i++) {
        CHECKF(exited(watch_image("/proc/self/exe", argv[0], NULL, images[i].role), images[i].code), "%s", images[i].role);
        GONE(count_names(".", "") == 0, "%s", images[i].role);
    }

    static void (*const doors[])(void) = {
        by_exit, by_exit_low, by_exit_iso, by_quick_exit, by_exit_group, by_errx, by_thread_exit, by_thread_exit_low,
        by_thread_quick_exit, by_thread_exit_group,
    };
    for (size_t i = 0; i < sizeof doors / sizeof *doors; i++) {
        CHECKF(exited(watch(play, &doors[i]), 7), "door %zu", i);
        GONE(count_names(".", "") == 0, "door %zu", i);
    }
    static void (*const only)(void) = by_only_thread;
    CHECK(exited(watch(play, &only), 0));
    GONE(count_names(".", "") == 0);
    static void (*const racing[])(void) = { by_all_with_exit, by_all_with_quick_exit };
    for (int round = 0; round < 50; round++) {
        CHECKF(exited(watch(play, &racing[round % 2]), 7), "round %d", round);
        GONE(count_names(".", "") == 0, "round %d", round);
    }
    return 0;
}
