// D4: a program that goes to and fro between a handler of its own and the default, while signals arrive from outside at
// every moment: whichever ends it, nothing is left.
#include "victim.h"

#define ROUNDS 300

static volatile sig_atomic_t seen;
static int ready[2];

static void note(int sig)
{
    (void)sig;
    seen++;
}

static void to_and_fro(const void *how)
{
    char dir[] = "d.XXXXXX";
    struct sigaction own = { .sa_handler = note }, def = { .sa_handler = SIG_DFL };
    // Its own handler from the start: what ends it is a signal that finds the default, however short that stood.
    CHECK(sigaction(SIGTERM, &own, NULL) == 0);
    CHECK(mkdtemp(dir) == dir);
    CHECK(write(ready[1], "x", 1) == 1);
    for (;;) {
        if (*(const int *)how) {
            CHECK(sigaction(SIGTERM, &def, NULL) == 0 && sigaction(SIGTERM, &own, NULL) == 0);
        } else {
            CHECK(signal(SIGTERM, SIG_DFL) != SIG_ERR && signal(SIGTERM, note) != SIG_ERR);
        }
    }
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    for (int round = 0; round < ROUNDS; round++) {
        int how = round % 2, status;
        char byte;
        CHECK(pipe(ready) == 0);
        pid_t pid = start(to_and_fro, &how);
        CHECK(read(ready[0], &byte, 1) == 1);
        while (waitpid(pid, &status, WNOHANG) == 0)
            CHECK(kill(pid, SIGTERM) == 0);
        CHECKF(killed(status, SIGTERM), "round %d: status %#x", round, status);
        CHECKF(count_names(".", "") == 0, "round %d", round);
        close(ready[0]);
        close(ready[1]);
    }
    return 0;
}
