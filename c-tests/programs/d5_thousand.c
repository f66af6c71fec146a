// D5: a thousand processes share one state directory, all alive at once, each with a directory. Half of them exit, half are
// killed; none takes what another still has, and after one sweep nothing is left.
#include "recover.h"

#define PROCESSES 1000

int main(int argc, char **argv)
{
    int ready[2], gate[2], statuses[2] = { 0 };
    char byte;
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    alone();
    CHECK(pipe2(ready, O_CLOEXEC) == 0 && pipe2(gate, O_CLOEXEC) == 0);
    for (int i = 0; i < PROCESSES; i++) {
        pid_t pid = fork();
        CHECKF(pid >= 0, "process %d", i);
        if (pid == 0) {
            char dir[] = "d.XXXXXX";
            close(gate[1]);
            CHECK(mkdtemp(dir) == dir);
            put(in(dir, "content"), dir);
            CHECK(write(ready[1], "x", 1) == 1 && read(gate[0], &byte, 1) == 0);
            // Others may be gone by now, and have been cleaned up behind.
            CHECKF(holds(in(dir, "content"), dir), "%s", dir);
            if (i % 2)
                raise(SIGKILL);
            exit(3);
        }
    }
    for (int i = 0; i < PROCESSES; i++)
        CHECK(read(ready[0], &byte, 1) == 1);
    CHECK(count_names(".", "d.") == PROCESSES);
    next_process();
    sweep();
    CHECK(count_names(".", "d.") == PROCESSES);
    close(gate[1]);
    for (int status; wait(&status) > 0;) {
        CHECKF(exited(status, 3) || killed(status, SIGKILL), "status %#x", status);
        statuses[WIFSIGNALED(status)]++;
    }
    CHECKF(statuses[0] == PROCESSES / 2 && statuses[1] == PROCESSES / 2, "%d, %d", statuses[0], statuses[1]);
    CHECKF(count_names(".", "d.") == PROCESSES / 2, "%d", count_names(".", "d."));
    sweep();
    CHECKF(count_names(".", "") == 0, "%d are left", count_names(".", ""));
    CHECKF(journals() == 0, "%d journals", journals());
    return 0;
}
