// D2, D6: what the program removed, renamed or replaced by itself is left alone; what it did not touch still goes.
#include "victim.h"

static char dir[] = "d.XXXXXX";

static void removed(void) { CHECK(rmdir(dir) == 0); }
static void removed_by_remove(void) { CHECK(remove(dir) == 0); }
static void removed_at(void) { CHECK(unlinkat(AT_FDCWD, dir, AT_REMOVEDIR) == 0); }

static void renamed(void)
{
    put(in(dir, "result"), "published");
    CHECK(rename(dir, "left") == 0);
}

static void replaced(void)
{
    CHECK(rmdir(dir) == 0 && mkdir("left", 0700) == 0);
    put("left/result", "published");
    CHECK(rename("left", dir) == 0);
}

static void made_again(void)
{
    CHECK(rmdir(dir) == 0 && mkdir(dir, 0700) == 0);
    put(in(dir, "result"), "published");
}

static void replaced_by_file(void)
{
    CHECK(rmdir(dir) == 0);
    put(dir, "published");
}

static void replaced_by_link(void)
{
    CHECK(mkdir("left", 0700) == 0 && rmdir(dir) == 0 && symlink("left", dir) == 0);
    put("left/result", "published");
}

// Renamed away, and a new one under the old name: neither is what was made under that name.
static void exchanged(void)
{
    char other[] = "other.XXXXXX";
    CHECK(mkdtemp(other) == other && mkdir("left", 0700) == 0);
    put("left/result", "published");
    // A FUSE server may not know how to exchange.
    if (syscall(SYS_renameat2, AT_FDCWD, dir, AT_FDCWD, "left", 1 << 1 /* RENAME_EXCHANGE */) != 0)
        CHECK(errno == EINVAL && rename("left", dir) == 0);
    else
        CHECK(rmdir("left") == 0);
}

struct how {
    void (*change)(void);
    int left;             // names in DIR that must remain, each with its "published" below it or in it
};

static void play(const void *arg)
{
    char other[] = "other.XXXXXX";
    CHECK(mkdtemp(dir) == dir && mkdtemp(other) == other);
    ((const struct how *)arg)->change();
    // The other one is still ours, and whatever the first has become must not keep it.
    put(in(other, "content"), "x");
}

static int published(void)
{
    int n = 0;
    DIR *d = opendir(".");
    CHECK(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.' && (holds(e->d_name, "published") || holds(in(e->d_name, "result"), "published"));
    closedir(d);
    return n;
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    const struct how ways[] = {
        { removed, 0 }, { removed_by_remove, 0 }, { removed_at, 0 }, { renamed, 1 }, { replaced, 1 }, { made_again, 1 },
        { replaced_by_file, 1 }, { replaced_by_link, 2 }, { exchanged, 1 },
    };
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        CHECKF(exited(watch(play, &ways[w]), 0), "way %zu", w);
        // What a supervisor knows it by is its name, so that one which is made again is made to be removed.
        int left = by_supervisor() && ways[w].change == made_again ? 0 : ways[w].left;
        GONE(count_names(".", "") == left, "way %zu: %d names", w, count_names(".", ""));
        CHECKF(published() == left, "way %zu: %d published", w, published());
        DIR *d = opendir(".");
        for (struct dirent *e; (e = readdir(d));)
            if (e->d_name[0] != '.')
                scrub(e->d_name);
        closedir(d);
        CHECK(count_names(".", "") == 0);
    }
    return 0;
}
