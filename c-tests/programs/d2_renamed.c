// D2: files that are open to the very end, in directories within directories. A FUSE server that renames what is unlinked and
// open keeps each of those from being empty until the process is gone. Its end is not held up by that: looking again and
// again at every depth would take minutes. What stays goes with the next sweep.
#include "recover.h"

enum { DEPTH = 5, BESIDE = 8 };

static void play(const void *unused)
{
    (void)unused;
    char path[200] = "d.XXXXXX";
    CHECK(mkdtemp(path) == path);
    for (int depth = 0; depth < DEPTH; depth++) {
        size_t end = strlen(path);
        for (int beside = 0; beside < BESIDE; beside++) {
            snprintf(path + end, sizeof path - end, "/%d", beside);
            CHECK(mkdir(path, 0700) == 0);
            CHECK(open(in(path, "used"), O_RDWR | O_CREAT, 0600) >= 0);
        }
    }
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    alone();
    double begin = seconds();
    CHECK(exited(watch(play, NULL), 0));
    double took = seconds() - begin;
    CHECKF(took < 20, "it took %.1f s", took);
    sweep();
    CHECKF(count_names(".", "") == 0, "%d left after the sweep", count_names(".", ""));
    CHECKF(journals() == 0, "%d journals", journals());
    return 0;
}
