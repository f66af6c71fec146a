// D1: the absolute path is fixed when the directory is made, whatever the program's working directory is later.
#include "victim.h"

static void make(const char *template)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", template);
    CHECKF(mkdtemp(dir) == dir, "%s", template);
    CHECK(exists(dir));
}

static void stay(const void *template) { make(template); }

static void leave(const void *template)
{
    make(template);
    CHECK(chdir("/") == 0);
}

static void leave_by_descriptor(const void *template)
{
    int root = open("/", O_RDONLY | O_DIRECTORY);
    make(template);
    CHECK(fchdir(root) == 0);
    close(root);
}

static void from_below(const void *template)
{
    CHECK(chdir("parent") == 0);
    leave(template);
}

// CRIU: mkdtemp with a relative template in its work directory, several times, working elsewhere in between.
static void in_turns(const void *template)
{
    for (int i = 0; i < 5; i++) {
        make(template);
        CHECK(chdir(i % 2 ? ".." : "parent") == 0);
    }
}

// The template's own working directory is itself a tracked directory, which may go first.
static void one_in_another(const void *template)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", (const char *)template);
    CHECK(mkdtemp(dir) == dir);
    CHECK(chdir(dir) == 0);
    make("inner.XXXXXX");
    make("../beside.XXXXXX");
}

int main(int argc, char **argv)
{
    char here[PATH_MAX];
    CHECK(argc > 1 && chdir(argv[1]) == 0 && getcwd(here, sizeof here));
    CHECK(mkdir("parent", 0755) == 0 && symlink("parent", "link") == 0);

    char absolute[PATH_MAX + 16], dotted[2 * PATH_MAX];
    snprintf(absolute, sizeof absolute, "%s/abs.XXXXXX", here);
    snprintf(dotted, sizeof dotted, "%s//.///parent/../dots.XXXXXX", here);
    const char *templates[] = {
        absolute, dotted, "rel.XXXXXX", ".criu.temp-aa-policy.XXXXXX", "./rel.XXXXXX", "parent/../rel.XXXXXX",
        "parent/rel.XXXXXX", "link/rel.XXXXXX", "link/../rel.XXXXXX", "XXXXXX", "a b\n\"\\\xff.XXXXXX",
    };
    part *ways[] = { stay, leave, leave_by_descriptor, in_turns, one_in_another };
    for (size_t t = 0; t < sizeof templates / sizeof *templates; t++)
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            // In turns the working directory changes, and the other templates name what lies in it.
            if (ways[w] == in_turns && t > 4)
                continue;
            CHECKF(exited(watch(ways[w], templates[t]), 0), "%s, way %zu", templates[t], w);
            GONE(count_names(".", "") == 2 && count_names("parent", "") == 0, "%s, way %zu", templates[t], w);
        }
    CHECK(exited(watch(from_below, "../up.XXXXXX"), 0));
    CHECK(exited(watch(from_below, "../link/up.XXXXXX"), 0));
    GONE(count_names(".", "") == 2 && count_names("parent", "") == 0);
    CHECK(unlink("link") == 0 && rmdir("parent") == 0);
    return 0;
}
