// D1: what mkdtemp makes under the shim is what mkdtemp makes: the name's shape, the mode, the owner, errno.
#include "victim.h"

// Six characters replaced, from the portable set, and nothing else.
static void has_shape(const char *made, const char *template)
{
    size_t n = strlen(template);
    CHECKF(strlen(made) == n && memcmp(made, template, n - 6) == 0, "%s from %s", made, template);
    CHECKF(strcmp(made + n - 6, "XXXXXX") != 0, "%s", made);
    CHECKF(strspn(made + n - 6, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == 6, "%s", made);
}

static void shapes(const void *unused)
{
    (void)unused;
    const char *templates[] = { "XXXXXX", "d.XXXXXX", "dXXXXXXXXX", ".XXXXXX", "XXXXXX.XXXXXX" };
    for (size_t t = 0; t < sizeof templates / sizeof *templates; t++) {
        char dir[64];
        strcpy(dir, templates[t]);
        errno = 4321;
        CHECKF(mkdtemp(dir) == dir, "%s", templates[t]);
        CHECKF(errno == 4321, "errno touched on success");
        has_shape(dir, templates[t]);
    }
}

static void unique(const void *unused)
{
    static char dir[1000][16];
    (void)unused;
    // mkdtemp cannot return an existing name, so equal names would only show in what the random part repeats.
    int repeats = 0;
    for (int i = 0; i < 1000; i++) {
        strcpy(dir[i], "u.XXXXXX");
        CHECK(mkdtemp(dir[i]) == dir[i]);
        if (i)
            repeats += memcmp(dir[i] + 2, dir[i - 1] + 2, 3) == 0;
    }
    CHECKF(repeats < 10, "%d of 1000 names begin as the one before", repeats);
}

// Each umask, beside a mkdir of the same mode: the same mode, owner and group, in a setgid parent as well.
static void modes(const void *parent)
{
    CHECK(chdir(parent) == 0);
    for (int mask = 0; mask <= 0777; mask++) {
        umask(mask);
        char dir[] = "m.XXXXXX";
        struct stat ours, native;
        CHECK(mkdtemp(dir) == dir && mkdir("native", 0700) == 0);
        CHECK(lstat(dir, &ours) == 0 && lstat("native", &native) == 0);
        CHECKF(ours.st_mode == native.st_mode, "umask %o: %o, not %o", mask, ours.st_mode, native.st_mode);
        CHECK(ours.st_uid == native.st_uid && ours.st_gid == native.st_gid);
        CHECK(rmdir("native") == 0);
    }
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    CHECK(exited(watch(shapes, NULL), 0));
    CHECK(exited(watch(unique, NULL), 0));
    CHECK(exited(watch(modes, "."), 0));
    GONE(count_names(".", "") == 0, "%d left", count_names(".", ""));
    CHECK(mkdir("setgid", 0755) == 0 && chmod("setgid", 02755) == 0);
    CHECK(exited(watch(modes, "setgid"), 0));
    GONE(count_names("setgid", "") == 0);
    CHECK(rmdir("setgid") == 0);
    return 0;
}
