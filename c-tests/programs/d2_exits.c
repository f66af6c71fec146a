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
static pthread_t main_thread;

static void *outlive(void *dir)
{
    CHECK(pthread_join(main_thread, NULL) == 0);
    CHECK(exists(dir));
    put(in(dir, "later"), "x");
    return NULL;
}

static char dir[] = "d.XXXXXX";

static void by_last_thread(void)
{
    pthread_t t;
    main_thread = pthread_self();
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
    main_thread = pthread_self();
    CHECK(pthread_create(&t, NULL, outlive_and_exit, dir) == 0);
    pthread_exit(NULL);
}

static void by_only_thread(void) { pthread_exit(NULL); }

// Eight threads end the program at once, by the doors in turn.
static void *race(void *door)
{
    void (*doors[])(void) = { by_exit, by_exit_low, by_quick_exit, by_exit_group };
    doors[(size_t)door % 4]();
    return NULL;
}

static void by_all_at_once(void)
{
    pthread_t t;
    for (size_t i = 0; i < 8; i++)
        pthread_create(&t, NULL, race, (void *)i);
    for (;;)
        pause();
}

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
        return 7;
    }
    CHECK(exited(watch_image("/proc/self/exe", argv[0], NULL, "victim"), 7));
    CHECKF(count_names(".", "") == 0, "return from main");

    static void (*const doors[])(void) = {
        by_exit, by_exit_low, by_exit_iso, by_quick_exit, by_exit_group, by_errx, by_thread_exit, by_thread_exit_low,
        by_thread_quick_exit, by_thread_exit_group, by_last_thread_exit,
    };
    for (size_t i = 0; i < sizeof doors / sizeof *doors; i++) {
        CHECKF(exited(watch(play, &doors[i]), 7), "door %zu", i);
        CHECKF(count_names(".", "") == 0, "door %zu", i);
    }
    static void (*const silent[])(void) = { by_last_thread, by_only_thread };
    for (size_t i = 0; i < 2; i++) {
        CHECKF(exited(watch(play, &silent[i]), 0), "last thread %zu", i);
        CHECKF(count_names(".", "") == 0, "last thread %zu", i);
    }
    static void (*const racing)(void) = by_all_at_once;
    for (int round = 0; round < 50; round++) {
        CHECKF(exited(watch(play, &racing), 7), "round %d", round);
        CHECKF(count_names(".", "") == 0, "round %d", round);
    }
    return 0;
}
