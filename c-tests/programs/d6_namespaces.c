// D6: from another mount namespace or another root, the same path may be something else, and an rmdir that looks harmless
// detaches somebody's mount. There the library removes nothing; and in the root it did know, nothing but its own.
#include "canary.h"

#include <sched.h>
#include <sys/mount.h>

static char here[PATH_MAX];

static void make(char *dir)
{
    CHECK(mkdtemp(dir) == dir);
    put(in(dir, "file"), "x");
    put(in(here, "name"), dir);
}

static void new_namespace(void)
{
    char dir[] = "d.XXXXXX";
    make(dir);
    CHECK(unshare(CLONE_NEWNS) == 0);
}

static void new_namespace_and_mount(void)
{
    char dir[] = "d.XXXXXX";
    make(dir);
    CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount("canary", dir, NULL, MS_BIND, NULL) == 0);
}

// In the jail, the same absolute path leads to a directory with a file of the same name.
static void jailed(void)
{
    char dir[PATH_MAX + 16];
    snprintf(dir, sizeof dir, "%s/d.XXXXXX", here);
    make(dir);
    char there[3 * PATH_MAX], part[3 * PATH_MAX];
    snprintf(there, sizeof there, "jail%s", dir);
    for (char *slash = there; (slash = strchr(slash + 1, '/'));) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - there), there);
        CHECK(mkdir(part, 0755) == 0 || errno == EEXIST);
    }
    CHECK(mkdir(there, 0700) == 0);
    put(in(there, "file"), "song");
    CHECK(chroot("jail") == 0 && chdir("/") == 0);
}

static void (*const ways[])(void) = { new_namespace, new_namespace_and_mount, jailed };

static void play(const void *arg)
{
    int how = *(const int *)arg;
    ways[how / 2]();
    if (how % 2)
        raise(SIGTERM);
}

static void unchanged(const void *unused)
{
    (void)unused;
    char dir[] = "d.XXXXXX";
    make(dir);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0 && getcwd(here, sizeof here));
    CHECK(exited(watch(unchanged, NULL), 0) && unlink("name") == 0 && count_names(".", "") == 0);
    char jailed_file[3 * PATH_MAX];
    const char *before = hatch("canary");
    for (int how = 0; how < 6; how++) {
        char name[PATH_MAX] = "";
        CHECK(mkdir("jail", 0755) == 0);
        int status = watch(play, &how);
        CHECKF(how % 2 ? killed(status, SIGTERM) : exited(status, 0), "way %d: status %#x", how, status);
        int fd = open("name", O_RDONLY);
        CHECK(fd >= 0 && read(fd, name, sizeof name - 1) > 0 && close(fd) == 0);
        CHECKF(unharmed("canary", before), "way %d", how);
        if (how < 4) {
            CHECKF(holds(in(name, "file"), "x"), "way %d", how);
        } else {
            snprintf(jailed_file, sizeof jailed_file, "jail%s/file", name);
            CHECKF(holds(jailed_file, "song"), "way %d", how);
        }
        scrub(name);
        scrub("jail");
        CHECK(unlink("name") == 0);
    }
    scrub("canary");
    return 0;
}
