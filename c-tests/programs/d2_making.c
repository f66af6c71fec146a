// D2, T5: threads are just making directories and files when another one ends the process. What they were about to make is not
// there afterwards, and neither is what they had made: no name of theirs, and none of ours. Also where the end takes its time, for
// a server keeps a name for a file that is open to the end (that directory goes with a later program's first at the latest),
// or what the process made before an exec goes as well; or a child lives, to which it is left.
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
    int signal, holds_file, is_image;
};

static void hold_file(void)
{
    char held[] = "held.XXXXXX";
    CHECK(mkdtemp(held) && open(held, O_TMPFILE | O_RDWR, 0644) >= 0);
}

// A child that ends when this process has, with all its threads: in the same instant each would take the other for the last.
static void have_an_heir(void)
{
    pid_t parent = getpid(), heir = fork();
    CHECK(heir >= 0);
    if (heir == 0) {
        while (getppid() == parent)
            usleep(100);
        exit(0);
    }
}

static void make_until_the_end(int signal)
{
    pthread_t thread;
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread, NULL, make, NULL) == 0);
    while (atomic_load(&begun) < THREADS)
        usleep(50);
    if (signal)
        raise(SIGTERM);
}

static void play(const void *parameter)
{
    const struct round *round = parameter;
    if (round->holds_file)
        hold_file();
    if (round->is_image)
        execl("/proc/self/exe", "image", ".", round->signal ? "signal" : "exit", (char *)NULL);
    make_until_the_end(round->signal);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    if (argc > 2) {
        hold_file();
        have_an_heir();
        make_until_the_end(strcmp(argv[2], "signal") == 0);
        return 0;
    }
    for (int n = 0; n < ROUNDS; n++) {
        const struct round round = { .signal = n % 2, .holds_file = n % 4 == 1 || n % 4 == 2, .is_image = n % 8 == 1 || n % 8 == 2 };
        int status = watch(play, &round);
        CHECKF(round.signal ? killed(status, SIGTERM) : exited(status, 0), "round %d: status %#x", n, status);
        if (round.is_image)
            EVENTUALLY(count_names(".", "d.") == 0);
        CHECKF(count_names(".", "d.") == 0, "round %d: %d left", n, count_names(".", "d."));
    }
    const struct round last = { 0 };
    EVENTUALLY(exited(watch(play, &last), 0) && count_names(".", "") == 0);
    return 0;
}
