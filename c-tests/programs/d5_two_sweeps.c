// D5: two sweeps at once over what two hundred killed processes have left, and a process that begins to track something
// meanwhile. All of them succeed, and nothing is left.
#include "recover.h"

#define DEAD 200
#define ROUNDS 5

static void make(const void *unused)
{
    (void)unused;
    char dir[] = "d.XXXXXX";
    CHECK(mkdtemp(dir) == dir && mkdir(in(dir, "sub"), 0700) == 0);
    put(in(dir, "sub/file"), "x");
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    alone();
    for (int round = 0; round < ROUNDS; round++) {
        leave_behind(make, DEAD);
        CHECKF(count_names(".", "d.") == DEAD && journals() == DEAD, "%d, %d", count_names(".", "d."), journals());
        struct sweep one = start_sweep(), two = start_sweep();
        pid_t next = start(make_one_and_remove_it, NULL);
        end_sweep(&one);
        end_sweep(&two);
        CHECK(exited(ended(next), 0));
        CHECKF(count_names(".", "") == 0, "round %d: %d are left", round, count_names(".", ""));
        CHECKF(journals() == 0, "round %d: %d journals", round, journals());
    }
    return 0;
}
