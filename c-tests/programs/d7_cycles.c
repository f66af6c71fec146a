// D7: a server that makes and removes directories all its life pays nothing for those that are gone: 200,000 rounds, by
// every call that removes one, grow the process by less than a mebibyte, and take no longer in the end than at first.
#include "victim.h"

static long resident(void)
{
    char line[256];
    long kilobytes = 0;
    FILE *f = fopen("/proc/self/status", "re");
    CHECK(f);
    while (fgets(line, sizeof line, f))
        sscanf(line, "VmRSS: %ld", &kilobytes);
    fclose(f);
    CHECK(kilobytes > 0);
    return kilobytes;
}

static double cycles(int n)
{
    double began = seconds();
    for (int i = 0; i < n; i++) {
        char dir[] = "c.XXXXXX";
        CHECK(mkdtemp(dir) == dir);
        switch (i % 5) {
        case 0: CHECK(rmdir(dir) == 0); break;
        case 1: CHECK(remove(dir) == 0); break;
        case 2: CHECK(unlinkat(AT_FDCWD, dir, AT_REMOVEDIR) == 0); break;
        case 3: CHECK(syscall(SYS_unlinkat, AT_FDCWD, dir, AT_REMOVEDIR) == 0); break;
        // Renamed away and then removed: the shim learns of neither, if it counts on hooks.
        case 4: CHECK(rename(dir, "renamed") == 0 && rmdir("renamed") == 0); break;
        }
    }
    return seconds() - began;
}

static void play(const void *unused)
{
    (void)unused;
    char first[] = "d.XXXXXX", last[] = "d.XXXXXX";
    CHECK(mkdtemp(first) == first);
    double early = cycles(20000);
    long before = resident();
    cycles(160000);
    double late = cycles(20000);
    CHECKF(resident() - before < 1024, "%ld KiB more", resident() - before);
    CHECKF(late < 3 * early + 0.1, "%.2f s for what took %.2f s at first", late, early);
    CHECK(mkdtemp(last) == last && exists(first));
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    CHECK(exited(watch(play, NULL), 0));
    CHECKF(count_names(".", "") == 0, "%d left", count_names(".", ""));
    return 0;
}
