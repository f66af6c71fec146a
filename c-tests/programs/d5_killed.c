// D5, D3: a process that is killed in the middle of making directories leaves none, once a sweep has come, or at once under a
// supervisor. If it has forked, they stay until the forked one has ended, too.
#include "recover.h"

#include <stdatomic.h>

#define ROUNDS 30

static struct {
    atomic_int made, child;
} *shared;
static int gate[2];

static void make_one(void)
{
    char dir[] = "d.XXXXXX";
    CHECK(mkdtemp(dir) == dir && mkdir(in(dir, "sub"), 0700) == 0);
    put(in(dir, "sub/content"), "x");
    atomic_fetch_add(&shared->made, 1);
}

static void make_for_ever(const void *unused)
{
    (void)unused;
    for (;;)
        make_one();
}

static void make_and_fork(const void *unused)
{
    (void)unused;
    make_one();
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        char byte;
        close(gate[1]);
        CHECK(read(gate[0], &byte, 1) == 0 && count_names(".", "d.") == 1);
        exit(0);
    }
    atomic_store(&shared->child, pid);
    pause();
}

static void kill_it(pid_t pid)
{
    CHECK(kill(pid, SIGKILL) == 0 && killed(ended(pid), SIGKILL));
    if (!by_supervisor())
        sweep();
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    alone();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    for (int round = 0; round < ROUNDS; round++) {
        atomic_store(&shared->made, 0);
        pid_t pid = start(make_for_ever, NULL);
        EVENTUALLY(atomic_load(&shared->made) > round % 8);
        kill_it(pid);
        GONE(count_names(".", "") == 0, "round %d: %d", round, count_names(".", ""));
    }
    CHECK(pipe2(gate, O_CLOEXEC) == 0);
    pid_t pid = start(make_and_fork, NULL);
    EVENTUALLY(atomic_load(&shared->child) != 0);
    kill_it(pid);
    next_process();
    CHECK(count_names(".", "") == 1);
    close(gate[0]);
    close(gate[1]);
    CHECK(exited(ended(atomic_load(&shared->child)), 0));
    if (!by_supervisor())
        sweep();
    GONE(count_names(".", "") == 0, "%d at the end", count_names(".", ""));
    return 0;
}
