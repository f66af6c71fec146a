// D6: a removal never crosses a mount point. A bind mount of the same filesystem has the same device number as its
// surroundings, so nothing but the mount itself tells. What is mounted is reported and skipped, the rest goes.
#include "canary.h"

#include <sched.h>
#include <sys/mount.h>

static char dir[] = "d.XXXXXX";

static void make(void)
{
    CHECK(mkdtemp(dir) == dir && mkdir(in(dir, "rest"), 0700) == 0 && mkdir(in(dir, "deep"), 0700) == 0);
    CHECK(mkdir(in(dir, "deep/point"), 0700) == 0);
    put(in(dir, "rest/file"), "x");
    put(in(dir, "deep/file"), "x");
    put(in(dir, "point-file"), "covered");
}

static void bind_directory(void) { CHECK(mount("canary", in(dir, "deep/point"), NULL, MS_BIND, NULL) == 0); }
static void bind_recursively(void) { CHECK(mount("canary", in(dir, "deep/point"), NULL, MS_BIND | MS_REC, NULL) == 0); }
static void bind_file(void) { CHECK(mount("canary/file", in(dir, "point-file"), NULL, MS_BIND, NULL) == 0); }

static void bind_read_only(void)
{
    bind_directory();
    CHECK(mount(NULL, in(dir, "deep/point"), NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0);
}

static void other_filesystem(void)
{
    CHECK(mount("tmpfs", in(dir, "deep/point"), "tmpfs", 0, NULL) == 0);
    put(in(dir, "deep/point/file"), "song");
}

// A part of the directory, mounted on another part of it: the same device, and even the same tree.
static void bind_itself(void)
{
    CHECK(mkdir(in(dir, "kept"), 0700) == 0);
    put(in(dir, "kept/file"), "song");
    CHECK(mount(in(dir, "kept"), in(dir, "kept"), NULL, MS_BIND, NULL) == 0);
}

static void bind_over_it(void) { CHECK(mount("canary", dir, NULL, MS_BIND, NULL) == 0); }
static void filesystem_over_it(void)
{
    CHECK(mount("tmpfs", dir, "tmpfs", 0, NULL) == 0);
    put(in(dir, "file"), "song");
}

// The directory is there twice, and one of them is a mount point of itself.
static void bind_it_over_itself(void) { CHECK(mount(dir, dir, NULL, MS_BIND, NULL) == 0); }

static const struct way {
    void (*mount)(void);
    const char *point, *file, *text;     // in the directory: the mount point, and a file that must still be there
    int rest_goes;
} ways[] = {
    { bind_directory, "deep/point", "deep/point/sub/../file", "song", 1 },
    { bind_recursively, "deep/point", "deep/point/file", "song", 1 },
    { bind_read_only, "deep/point", "deep/point/file", "song", 1 },
    { bind_file, "point-file", "point-file", "song", 1 },
    { other_filesystem, "deep/point", "deep/point/file", "song", 1 },
    { bind_itself, "kept", "kept/file", "song", 1 },
    { bind_over_it, "", "file", "song", 0 },
    { filesystem_over_it, "", "file", "song", 0 },
    { bind_it_over_itself, "", "rest/file", "x", 0 },
};

#define WAYS (sizeof ways / sizeof *ways)

// The image under test writes a log: argv[2] says which way, the environment where to.
static int victim(size_t w)
{
    make();
    put("name", dir);
    ways[w].mount();
    return 0;
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    if (argc > 2)
        return victim(atoi(argv[2]));
    // A mount namespace of this test's own, made before any directory: nothing that it mounts outlives it.
    CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);

    char log[PATH_MAX + 32] = "TMPSHIM_LOG=";
    CHECK(getcwd(log + strlen(log), PATH_MAX));
    strcat(log, "/log");
    const char *settings[] = { log, NULL };
    const char *before = hatch("canary");
    for (size_t w = 0; w < WAYS; w++) {
        char number[16], name[32] = "";
        snprintf(number, sizeof number, "%zu", w);
        CHECKF(exited(watch_image("/proc/self/exe", argv[0], settings, number), 0), "way %zu", w);
        int fd = open("name", O_RDONLY);
        CHECK(fd >= 0 && read(fd, name, sizeof name - 1) == (ssize_t)strlen(dir) && close(fd) == 0);
        CHECKF(unharmed("canary", before), "way %zu", w);
        CHECKF(holds(in(name, ways[w].file), ways[w].text), "way %zu: %s", w, ways[w].file);
        if (ways[w].rest_goes)
            CHECKF(!exists(in(name, "rest")) && !exists(in(name, "deep/file")), "way %zu", w);
        CHECKF(umount2(in(name, ways[w].point), MNT_DETACH) == 0, "way %zu: no longer mounted", w);
        char found[1 << 14] = "";
        fd = open("log", O_RDONLY);
        CHECKF(fd >= 0 && read(fd, found, sizeof found - 1) > 0 && close(fd) == 0, "way %zu: no report", w);
        CHECKF(strstr(found, name), "way %zu: %s", w, found);
        scrub(name);
        CHECK(unlink("log") == 0);
    }
    scrub("canary");
    CHECK(unlink("name") == 0);
    return 0;
}
