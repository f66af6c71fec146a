// D6: what the program made unreadable is still the program's, and goes: directories of every mode, nested, as somebody
// without root's privileges; the directory itself too.
#include "victim.h"

static void fill(const char *dir, int mode)
{
    CHECK(mkdir(dir, 0700) == 0 && mkdir(in(dir, "sub"), 0700) == 0 && mkdir(in(dir, "sub/sub"), 0700) == 0);
    put(in(dir, "file"), "x");
    put(in(dir, "sub/sub/file"), "x");
    CHECK(chmod(in(dir, "sub/sub/file"), 0) == 0);
    CHECK(chmod(in(dir, "sub/sub"), mode) == 0 && chmod(in(dir, "sub"), mode) == 0 && chmod(dir, mode) == 0);
}

static void play(const void *arg)
{
    char dir[] = "d.XXXXXX", name[16];
    CHECK(mkdtemp(dir) == dir && chdir(dir) == 0);
    for (int mode = 0; mode <= 0700; mode += 0100) {
        snprintf(name, sizeof name, "m%o", mode);
        fill(name, mode);
    }
    fill("m444", 0444);
    CHECK(chdir("..") == 0 && chmod(dir, *(const int *)arg) == 0);
}

static void masked(const void *arg)
{
    char dir[] = "d.XXXXXX";
    umask(*(const int *)arg);
    CHECK(mkdtemp(dir) == dir);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0 && geteuid() != 0);
    for (int mode = 0; mode <= 0700; mode += 0100) {
        CHECKF(exited(watch(play, &mode), 0), "mode %o", mode);
        GONE(count_names(".", "") == 0, "mode %o", mode);
        CHECKF(exited(watch(masked, &mode), 0), "umask %o", mode);
        GONE(count_names(".", "") == 0, "umask %o", mode);
    }
    return 0;
}
