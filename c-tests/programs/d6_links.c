// D6: a removal never goes through a symbolic link, and a hard link inside does nothing to the file outside but take one
// from its count.
#include "canary.h"

static char dir[] = "d.XXXXXX";
static char canary[PATH_MAX];

static void link_inside(void)
{
    CHECK(mkdir(in(dir, "deep"), 0700) == 0);
    CHECK(symlink(canary, in(dir, "absolute")) == 0 && symlink("../canary", in(dir, "relative")) == 0);
    CHECK(symlink("../../canary/sub", in(dir, "deep/relative")) == 0 && symlink("../canary/", in(dir, "slash")) == 0);
    CHECK(symlink(canary, in(dir, "deep/absolute")) == 0);
}

static void link_instead(void) { CHECK(rmdir(dir) == 0 && symlink("canary", dir) == 0); }
static void absolute_link_instead(void) { CHECK(rmdir(dir) == 0 && symlink(canary, dir) == 0); }

static void link_for_a_part(void)
{
    CHECK(mkdir(in(dir, "part"), 0700) == 0);
    CHECK(rename(in(dir, "part"), "part") == 0 && symlink(canary, in(dir, "part")) == 0 && rmdir("part") == 0);
}

// The directory itself under a link to its parent, which leads elsewhere in the end, to something of the same name.
static void link_above(void)
{
    char made[] = "way/d.XXXXXX", lure[PATH_MAX];
    CHECK(mkdir("first", 0755) == 0 && symlink("first", "way") == 0 && mkdtemp(made) == made);
    snprintf(lure, sizeof lure, "canary/%s", made + 4);
    CHECK(mkdir(lure, 0700) == 0);
    put(in(lure, "file"), "song");
    CHECK(unlink("way") == 0 && symlink("canary", "way") == 0);
}

static void hard_links(void)
{
    CHECK(link("outer", in(dir, "inner")) == 0 && link("outer-sealed", in(dir, "inner-sealed")) == 0);
    CHECK(link("canary/sub/file", in(dir, "song")) == 0);
}

static void play(const void *way)
{
    char other[] = "other.XXXXXX";
    CHECK(mkdtemp(dir) == dir && mkdtemp(other) == other);
    (*(void (*const *)(void))way)();
    put(in(other, "content"), "x");
}

// Whatever the program turned its own directory into is its own business; a link of that name is what it left.
static void clear_links(void)
{
    DIR *d = opendir(".");
    CHECK(d);
    for (struct dirent *e; (e = readdir(d));)
        if (strncmp(e->d_name, "d.", 2) == 0 || strcmp(e->d_name, "way") == 0)
            CHECKF(unlink(e->d_name) == 0, "%s", e->d_name);
    closedir(d);
}

static int directories(void)
{
    struct stat status;
    int count = 0;
    DIR *d = opendir(".");
    CHECK(d);
    for (struct dirent *e; (e = readdir(d));)
        count += strchr(e->d_name, '.') > e->d_name && lstat(e->d_name, &status) == 0 && S_ISDIR(status.st_mode);
    closedir(d);
    return count;
}

static void run(void (*const *way)(void), const char *before)
{
    struct stat canary_mode;
    CHECK(exited(watch(play, way), 0));
    GONE(directories() == 0);
    CHECK(unharmed("canary", before));
    CHECK(stat("canary", &canary_mode) == 0);
    clear_links();
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0 && getcwd(canary, sizeof canary - 8));
    strcat(canary, "/canary");
    const char *before = hatch("canary");
    put("outer", "precious");
    put("outer-sealed", "sealed");
    CHECK(chmod("outer", 04755) == 0 && chmod("outer-sealed", 0) == 0);
    struct stat outer[2], sealed[2];
    CHECK(stat("outer", &outer[0]) == 0 && stat("outer-sealed", &sealed[0]) == 0);

    static void (*const ways[])(void) = { link_inside, link_instead, absolute_link_instead, link_for_a_part, hard_links };
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        run(&ways[w], before);
        GONE(count_names(".", "") == 3, "way %zu: %d names", w, count_names(".", ""));
    }
    CHECK(stat("outer", &outer[1]) == 0 && stat("outer-sealed", &sealed[1]) == 0);
    const struct stat *pairs[] = { outer, sealed };
    for (int i = 0; i < 2; i++) {
        const struct stat *a = pairs[i], *b = a + 1;
        CHECK(a->st_ino == b->st_ino && a->st_mode == b->st_mode && a->st_nlink == 1 && b->st_nlink == 1);
        CHECK(a->st_size == b->st_size && a->st_uid == b->st_uid && a->st_gid == b->st_gid);
        CHECK(a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec);
        CHECK(a->st_atim.tv_sec == b->st_atim.tv_sec && a->st_atim.tv_nsec == b->st_atim.tv_nsec);
    }
    CHECK(holds("outer", "precious"));

    // Here the lure is in the canary before the end, so the portrait is taken with it.
    static void (*const above)(void) = link_above;
    CHECK(exited(watch(play, &above), 0));
    GONE(count_names("canary", "d.") == 1 && count_names("canary", "") == 4);
    DIR *d = opendir("canary");
    CHECK(d);
    for (struct dirent *e; (e = readdir(d));)
        if (strncmp(e->d_name, "d.", 2) == 0)
            CHECK(holds(in("canary", in(e->d_name, "file")), "song"));
    closedir(d);
    GONE(count_names(".", "other.") == 0 && count_names(".", "d.") == 0);
    scrub("first");
    clear_links();
    scrub("canary");
    CHECK(unlink("outer") == 0 && unlink("outer-sealed") == 0);
    return 0;
}
