// D2: a tracked directory that the program removes and makes again under its name. The last one goes at the end, and one that
// another process has made there meanwhile does not go with the end of who made the first.
#include "victim.h"

#include <sched.h>

static int board[2][2];

static void make_twice(const void *name)
{
    CHECK(mkdir(name, 0700) == 0 && rmdir(name) == 0 && mkdir(name, 0700) == 0);
}

static void tell(int to) { CHECK(write(board[to][1], "x", 1) == 1); }
static void hear(int from)
{
    char byte;
    CHECK(read(board[from][0], &byte, 1) == 1);
}

// Makes what the other one has removed, and lives until it is told to end.
static void second(const void *name)
{
    hear(0);
    CHECK(mkdir(name, 0700) == 0);
    tell(1);
    hear(0);
}

static void first(const void *name)
{
    CHECK(mkdir("k-first", 0700) == 0 && mkdir(name, 0700) == 0 && rmdir(name) == 0);
    tell(0);
    hear(1);
}

// A supervisor goes by start times, in hundredths of a second: who was started in the same one could be a user.
static void next_tick(void)
{
    struct timespec begin, now;
    clock_gettime(CLOCK_BOOTTIME, &begin);
    do {
        sched_yield();
        clock_gettime(CLOCK_BOOTTIME, &now);
    } while ((now.tv_sec - begin.tv_sec) * 1000000000L + now.tv_nsec - begin.tv_nsec < 20000000L);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    for (int i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof name, "k-%d", i);
        CHECK(exited(watch(make_twice, name), 0));
    }
    GONE(count_names(".", "") == 0, "%d left", count_names(".", ""));

    CHECK(pipe(board[0]) == 0 && pipe(board[1]) == 0);
    pid_t other = start(second, "k-shared");
    next_tick();
    CHECK(exited(watch(first, "k-shared"), 0));
    GONE(!exists("k-first"), "k-first");
    CHECK(exists("k-shared"));
    tell(0);
    CHECK(exited(ended(other), 0));
    GONE(count_names(".", "") == 0, "%d left", count_names(".", ""));
    return 0;
}
