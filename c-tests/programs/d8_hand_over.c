// D8: a program whose purpose is to make a directory and leave it is not tracked: those of the built-in list, and those
// that TMPSHIM_SKIP_PROGRAMS adds. The name is the one under which it was started, also through a link (busybox).
#include "victim.h"

static void copy(const char *from, const char *to)
{
    char buffer[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    CHECK(in >= 0 && out >= 0);
    for (ssize_t n; (n = read(in, buffer, sizeof buffer)) > 0;)
        CHECK(write(out, buffer, n) == n);
    CHECK(close(in) == 0 && close(out) == 0);
}

// Whether the directory that this program makes under this name is left.
static int left_by(const char *image, const char *name, const char *setting)
{
    const char *settings[] = { setting, NULL };
    CHECKF(exited(watch_image(image, name, settings, "victim"), 0), "%s", image);
    int left = count_names(".", "d.");
    DIR *d = opendir(".");
    CHECK(d);
    for (struct dirent *e; (e = readdir(d));)
        if (strncmp(e->d_name, "d.", 2) == 0)
            scrub(e->d_name);
    closedir(d);
    return left;
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    if (argc > 2) {
        char dir[] = "d.XXXXXX";
        CHECK(mkdtemp(dir) == dir);
        return 0;
    }
    CHECK(mkdir("bin", 0755) == 0);
    const char *programs[] = { "bin/mktemp", "bin/server", "bin/mktemporary", "bin/xmktemp" };
    for (size_t i = 0; i < 4; i++)
        copy("/proc/self/exe", programs[i]);
    CHECK(symlink("server", "bin/box") == 0 && mkdir("bin/box.d", 0755) == 0 && symlink("../server", "bin/box.d/mktemp") == 0);

    CHECK(left_by("bin/mktemp", "mktemp", NULL) == 1);
    CHECK(left_by("bin/mktemp", "/usr/bin/mktemp", NULL) == 1);
    CHECK(left_by("bin/box.d/mktemp", "mktemp", NULL) == 1);
    CHECK(left_by("bin/server", "server", NULL) == 0);
    CHECK(left_by("bin/mktemporary", "mktemporary", NULL) == 0);
    CHECK(left_by("bin/xmktemp", "xmktemp", NULL) == 0);
    CHECK(left_by("bin/server", "server", "TMPSHIM_SKIP_PROGRAMS=server") == 1);
    CHECK(left_by("bin/server", "bin/server", "TMPSHIM_SKIP_PROGRAMS=other:server") == 1);
    CHECK(left_by("bin/box", "box", "TMPSHIM_SKIP_PROGRAMS=box:other") == 1);
    CHECK(left_by("bin/server", "server", "TMPSHIM_SKIP_PROGRAMS=other:serve:servers") == 0);
    CHECK(left_by("bin/server", "server", "TMPSHIM_SKIP_PROGRAMS=") == 0);
    CHECK(left_by("bin/server", "server", "TMPSHIM_SKIP_PROGRAMS=::") == 0);
    CHECK(left_by("bin/mktemp", "mktemp", "TMPSHIM_SKIP_PROGRAMS=server") == 1);
    scrub("bin");
    return 0;
}
