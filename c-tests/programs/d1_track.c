// D1: a mkdir whose path matches a glob of TMPSHIM_TRACK is tracked, through every door, and no other is. The globs are the
// ones below, unless there are some already: a supervisor takes them from its own environment.
#include "victim.h"

static int sub;

static int by_mkdir(const char *path) { return mkdir(path, 0700); }
static int by_mkdirat(const char *path) { return mkdirat(AT_FDCWD, path, 0700); }
static int by_syscall_at(const char *path) { return syscall(SYS_mkdirat, AT_FDCWD, path, 0700); }
#ifdef SYS_mkdir
static int by_syscall(const char *path) { return syscall(SYS_mkdir, path, 0700); }
#endif

static int (*const doors[])(const char *) = {
    by_mkdir, by_mkdirat, by_syscall_at,
#ifdef SYS_mkdir
    by_syscall,
#endif
};

#define DOORS (sizeof doors / sizeof *doors)

static void fill(size_t door, const char *path)
{
    errno = 99;
    CHECKF(doors[door](path) == 0 && errno == 99, "%s", path);
    put(in(path, "content"), "x");
    CHECK(doors[door](path) == -1 && errno == EEXIST);
}

// Four directories a door, three of them matching, then names seen from a directory descriptor.
static void victim(void)
{
    char here[PATH_MAX], path[2 * PATH_MAX];
    CHECK(getcwd(here, sizeof here));
    for (size_t i = 0; i < DOORS; i++) {
        const char *forms[] = { "tmp-%zu", "work/build-%zu", "kept-%zu" };
        for (size_t f = 0; f < 3; f++) {
            snprintf(path, sizeof path, forms[f], i);
            fill(i, path);
        }
        snprintf(path, sizeof path, "%s/tmp-abs-%zu", here, i);
        fill(i, path);
    }
    CHECK((sub = open("work", O_RDONLY | O_DIRECTORY)) >= 0);
    CHECK(mkdirat(sub, "build-at", 0750) == 0);
    CHECK(syscall(SYS_mkdirat, sub, "build-syscall", 0750) == 0);
    CHECK(mkdirat(sub, "kept-at", 0750) == 0);
    struct stat st;
    CHECK(stat("work/build-at", &st) == 0 && (st.st_mode & 07777) == 0750);
    // Errors are the kernel's, and are not remembered as something to remove.
    CHECK(mkdir("absent/tmp-x", 0700) == -1 && errno == ENOENT);
    CHECK(mkdir("tmp-before", 0700) == -1 && errno == EEXIST);
    CHECK(mkdirat(-5, "tmp-x", 0700) == -1 && errno == EBADF);
    char *volatile null = NULL;
    CHECK(mkdir(null, 0700) == -1 && errno == EFAULT);
    CHECK(mkdirat(sub, null, 0700) == -1 && errno == EFAULT);
    CHECK(mkdir((char *)8, 0700) == -1 && errno == EFAULT);
    CHECK(chdir("/") == 0);
    close(sub);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1);
    if (argc > 2) {
        victim();
        exit(0);
    }
    CHECK(chdir(argv[1]) == 0);
    CHECK(mkdir("work", 0755) == 0 && mkdir("tmp-before", 0755) == 0);

    char here[PATH_MAX], globs[PATH_MAX + 64];
    CHECK(getcwd(here, sizeof here));
    snprintf(globs, sizeof globs, "TMPSHIM_TRACK=tmp-*:%s/work/build-*", here);
    const char *settings[] = { getenv("TMPSHIM_TRACK") ? NULL : globs, NULL };
    CHECK(exited(watch_image("/proc/self/exe", argv[0], settings, "victim"), 0));

    // Kept: one a door, work with its own kept-at, and what was there before.
    GONE(count_names(".", "") == (int)DOORS + 2 && count_names("work", "") == 1, "%d names", count_names(".", ""));
    CHECK(exists("work/kept-at") && exists("tmp-before"));
    for (size_t i = 0; i < DOORS; i++) {
        char kept[32];
        snprintf(kept, sizeof kept, "kept-%zu", i);
        CHECK(holds(in(kept, "content"), "x"));
        scrub(kept);
    }
    CHECK(rmdir("work/kept-at") == 0 && rmdir("work") == 0 && rmdir("tmp-before") == 0);
    return 0;
}
