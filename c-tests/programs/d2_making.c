// D2, T5: threads are just making directories and files when another one ends the process. What they were about to make is not
// there afterwards, and neither is what they had made: no name of theirs, and none of ours. Also where the end takes its time, for
// a server keeps a name for a file that is open to the end: that directory goes with the next program's first at the latest.
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

struct round {
    int signal, holds_file;
};

static void play(const void *parameter)
{
    const struct round *round = parameter;
    pthread_t thread;
    char held[] = "held.XXXXXX";
    if (round->holds_file)
        CHECK(mkdtemp(held) && open(held, O_TMPFILE | O_RDWR, 0644) >= 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread, NULL, make, NULL) == 0);
    while (atomic_load(&begun) < THREADS)
        usleep(50);
    if (round->signal)
        raise(SIGTERM);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    for (int n = 0; n < ROUNDS; n++) {
        const struct round round = { .signal = n % 2, .holds_file = n % 4 == 1 || n % 4 == 2 };
        int status = watch(play, &round);
        CHECKF(round.signal ? killed(status, SIGTERM) : exited(status, 0), "round %d: status %#x", n, status);
        const char *whose = round.holds_file ? "d." : "";
        GONE(count_names(".", whose) == 0, "round %d: %d left", n, count_names(".", whose));
    }
    return 0;
}
