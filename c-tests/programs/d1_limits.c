// D1 and D6 at the limits of names: a template of exactly PATH_MAX, one that only a relative path can reach, and
// contents whose own path is longer than any path may be.
#include "victim.h"

#define LEVEL "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

// Makes levels below the working directory and goes into the last.
static void descend(int levels)
{
    while (levels--)
        CHECK((mkdir(LEVEL, 0700) == 0 || errno == EEXIST) && chdir(LEVEL) == 0);
}

// An absolute template of `length` bytes, NUL included, below "deep".
static char *template_of(size_t length)
{
    char here[PATH_MAX];
    char *t = calloc(1, length);
    CHECK(t && getcwd(here, sizeof here));
    int n = snprintf(t, length, "%s/deep", here);
    size_t level = strlen(LEVEL) + 1;
    while (n + level + 16 < length)
        n += snprintf(t + n, length - n, "/%s", LEVEL);
    t[n++] = '/';
    memset(t + n, 's', length - n - 7);
    strcpy(t + length - 7, "XXXXXX");
    CHECK(strlen(t) == length - 1);
    return t;
}

static void longest(const void *unused)
{
    (void)unused;
    char *dir = template_of(PATH_MAX);
    CHECK(mkdtemp(dir) == dir);
    CHECK(chdir(dir) == 0);
    descend(20);
    put("file", "out of any path's reach");
}

static void too_long(const void *unused)
{
    (void)unused;
    char *dir = template_of(PATH_MAX + 1);
    errno = 0;
    CHECK(mkdtemp(dir) == NULL && errno == ENAMETOOLONG);
}

// Natively this works; that its path cannot be kept is no reason to fail.
static void beyond(const void *unused)
{
    (void)unused;
    char dir[] = "beyond.XXXXXX";
    CHECK(chdir("deep") == 0);
    descend(45);
    CHECK(mkdtemp(dir) == dir && exists(dir));
}

static void longest_name(const void *unused)
{
    (void)unused;
    char dir[256];
    memset(dir, 'l', sizeof dir);
    strcpy(dir + 249, "XXXXXX");
    CHECK(mkdtemp(dir) == dir && strlen(dir) == NAME_MAX && exists(dir));
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    int here = open(".", O_RDONLY | O_CLOEXEC);
    CHECK(mkdir("deep", 0700) == 0 && chdir("deep") == 0);
    descend(45);
    CHECK(fchdir(here) == 0);
    CHECK(exited(watch(longest, NULL), 0));
    CHECK(exited(watch(too_long, NULL), 0));
    // One more name than the next level, on any level of "deep", is one of the victims' own.
    CHECK(chdir("deep") == 0);
    int left = 0;
    for (int i = 0; i < 45; i++) {
        left += count_names(".", "") - 1;
        CHECK(chdir(LEVEL) == 0);
    }
    left += count_names(".", "");
    CHECK(fchdir(here) == 0);
    CHECK(exited(watch(beyond, NULL), 0));
    CHECK(exited(watch(longest_name, NULL), 0));
    scrub("deep");
    CHECKF(left == 0, "%d left", left);
    CHECK(count_names(".", "") == 0);
    return 0;
}
