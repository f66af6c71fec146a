// D2, T5: threads are just making directories and files when another one ends the process. What they were about to make is not
// there afterwards, and neither is what they had made: no name of theirs, and none of ours.
#include "victim.h"

#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 4, ROUNDS = 120 };

static atomic_int begun;

static void *make(void *unused)
{
    (void)unused;
    for (;;) {
        char dir[] = "d.XXXXXX";
        mkdtemp(dir);
        int fd = open(".", O_TMPFILE | O_RDWR, 0644);
        if (fd >= 0)
            close(fd);
        atomic_fetch_add(&begun, 1);
        rmdir(dir);
    }
    return NULL;
}

static void play(const void *signal)
{
    pthread_t thread;
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread, NULL, make, NULL) == 0);
    while (atomic_load(&begun) < THREADS)
        usleep(50);
    if (signal)
        raise(SIGTERM);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    for (int round = 0; round < ROUNDS; round++) {
        int status = watch(play, round % 2 ? "signal" : NULL);
        CHECKF(round % 2 ? killed(status, SIGTERM) : exited(status, 0), "round %d: status %#x", round, status);
        GONE(count_names(".", "") == 0, "round %d: %d left", round, count_names(".", ""));
    }
    return 0;
}
