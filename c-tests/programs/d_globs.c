// Section 7: TMPSHIM_ONLY and TMPSHIM_SKIP, globs on the last component or on the absolute path, several with colons.
#include "settings.h"

static const char *const templates[] = { "alpha.XXXXXX", "beta.XXXXXX", "sub/alpha.XXXXXX", "sub/gamma-7.XXXXXX", ".dot.XXXXXX" };

#define TEMPLATES (sizeof templates / sizeof *templates)

static int victim(void)
{
    for (size_t i = 0; i < TEMPLATES; i++) {
        char dir[32];
        CHECK(mkdtemp(strcpy(dir, templates[i])) == dir);
    }
    return 0;
}

// One bit a template whose directory is left.
static int left(void)
{
    int bits = 0;
    for (size_t i = 0; i < TEMPLATES; i++) {
        const char *name = strrchr(templates[i], '/') ? strrchr(templates[i], '/') + 1 : templates[i];
        char prefix[16];
        snprintf(prefix, sizeof prefix, "%.*s", (int)(strlen(name) - 6), name);
        bits |= count_names(name == templates[i] ? "." : "sub", prefix) << i;
    }
    return bits;
}

enum { ALPHA = 1, BETA = 2, SUB_ALPHA = 4, SUB_GAMMA = 8, DOT = 16, ALL = 31 };

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    if (argc > 2)
        return victim();
    char here[PATH_MAX];
    CHECK(getcwd(here, sizeof here));
    // @ stands for this directory. ONLY names what goes, SKIP what stays.
    static const struct { const char *only, *skip; int left; } rules[] = {
        { NULL, NULL, 0 },
        { "alpha.*", NULL, ALL & ~(ALPHA | SUB_ALPHA) },
        { "alpha.??????", NULL, ALL & ~(ALPHA | SUB_ALPHA) },
        { "alpha.?????", NULL, ALL },
        { "alpha", NULL, ALL },
        { "[ab]*", NULL, ALL & ~(ALPHA | BETA | SUB_ALPHA) },
        { "[b-g]*", NULL, ALL & ~(BETA | SUB_GAMMA) },
        { "[!b-z.]*", NULL, ALL & ~(ALPHA | SUB_ALPHA) },
        { "gamma-[0-9].*:beta*", NULL, ALL & ~(SUB_GAMMA | BETA) },
        { "@/alpha.*", NULL, ALL & ~ALPHA },
        { "@/sub/*", NULL, ALL & ~(SUB_ALPHA | SUB_GAMMA) },
        { "*/sub/alpha.*", NULL, ALL & ~SUB_ALPHA },
        { "*", NULL, 0 },
        { "nothing:::", NULL, ALL },
        { "", "", 0 },
        { NULL, "alpha.*", ALPHA | SUB_ALPHA },
        { NULL, "beta.*:gamma*", BETA | SUB_GAMMA },
        { NULL, "@/sub/*", SUB_ALPHA | SUB_GAMMA },
        { NULL, "*", ALL },
        { NULL, ".*", DOT },
        { "*", "@/alpha.*", ALPHA },
        { "alpha.*", "@/sub/*", ALL & ~ALPHA },
        { "alpha.*:beta.*", "beta.*", ALL & ~(ALPHA | SUB_ALPHA) },
    };
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
        char text[2][2 * PATH_MAX];
        const char *settings[3] = { NULL }, *globs[] = { rules[r].only, rules[r].skip };
        for (int i = 0, n = 0; i < 2; i++)
            if (globs[i]) {
                int at = globs[i][0] == '@';
                snprintf(text[i], sizeof text[i], "TMPSHIM_%s=%s%s", i ? "SKIP" : "ONLY", at ? here : "", globs[i] + at);
                settings[n++] = text[i];
            }
        CHECK(mkdir("sub", 0755) == 0);
        struct seen seen = run_with(settings, "victim");
        CHECKF(exited(seen.status, 0) && !*seen.errors, "rule %zu: %#x, %s", r, seen.status, seen.errors);
        CHECKF(left() == rules[r].left, "rule %zu: left %#x, not %#x", r, left(), rules[r].left);
        scrub_all();
    }
    return 0;
}
