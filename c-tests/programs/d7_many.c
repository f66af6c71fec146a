// D1, D7: any number of directories in one process, some of them removed by the program itself, in any order.
#include "victim.h"

#define MANY 10000

static void play(const void *end)
{
    static char dir[MANY][16];
    for (int i = 0; i < MANY; i++) {
        strcpy(dir[i], "d.XXXXXX");
        CHECK(mkdtemp(dir[i]) == dir[i]);
        if (i % 300 == 0)
            put(in(dir[i], "content"), "x");
        // Every third at once, and every seventh of the earlier ones later, so that gaps lie everywhere.
        if (i % 3 == 1)
            CHECK(rmdir(dir[i]) == 0);
        if (i % 7 == 0 && i / 7 % 3 == 0 && i / 7 % 300 != 0)
            CHECK(rmdir(dir[i / 7]) == 0);
    }
    if (end)
        raise(SIGTERM);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    CHECK(exited(watch(play, NULL), 0));
    CHECKF(count_names(".", "") == 0, "%d left", count_names(".", ""));
    CHECK(killed(watch(play, "end"), SIGTERM));
    CHECKF(count_names(".", "") == 0, "%d left", count_names(".", ""));
    return 0;
}
