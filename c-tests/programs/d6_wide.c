// D6: 100,000 entries in one directory, and 10,000 directories in one. A directory that is read while it shrinks may skip
// some; none may be left.
#include "victim.h"

static void files(const void *end)
{
    char dir[] = "d.XXXXXX", name[32];
    CHECK(mkdtemp(dir) == dir && chdir(dir) == 0);
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof name, "file-%d", i);
        CHECK(mknod(name, S_IFREG | 0600, 0) == 0);
    }
    if (end)
        raise(SIGTERM);
}

static void directories(const void *end)
{
    char dir[] = "d.XXXXXX", name[32];
    CHECK(mkdtemp(dir) == dir && chdir(dir) == 0);
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "dir-%d", i);
        CHECK(mkdir(name, 0700) == 0);
        put(in(name, "file"), "x");
    }
    if (end)
        raise(SIGTERM);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    CHECK(exited(watch(files, NULL), 0));
    GONE(count_names(".", "") == 0);
    CHECK(killed(watch(files, "end"), SIGTERM));
    GONE(count_names(".", "") == 0);
    CHECK(exited(watch(directories, NULL), 0));
    GONE(count_names(".", "") == 0);
    CHECK(killed(watch(directories, "end"), SIGTERM));
    GONE(count_names(".", "") == 0);
    return 0;
}
