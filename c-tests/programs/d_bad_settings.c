// Section 7: a name that is no setting, or a value that the setting does not take: one line on standard error that says
// which and what is accepted, then the safe default. Nothing else, and no line where there is nothing to say.
#include "settings.h"

static int victim(void)
{
    char dir[] = "d.XXXXXX";
    CHECK(mkdtemp(dir) == dir);
    put(in(dir, "content"), "x");
    return 7;
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    if (argc > 2)
        return victim();
    static char long_value[5000], long_name[600];
    snprintf(long_value, sizeof long_value, "TMPSHIM_CLEANUP=%04900d", 0);
    snprintf(long_name, sizeof long_name, "TMPSHIM_%0500d=1", 0);

    // The setting, and words that the line must have; without words there must be no line.
    static const struct { const char *setting, *words[5]; } rules[] = {
        { "TMPSHIM_FOO=1", { "TMPSHIM_FOO", "TMPSHIM_CLEANUP", "TMPSHIM_LOG" } },
        { "TMPSHIM_=", { "TMPSHIM_" } },
        { "TMPSHIM_cleanup=all", { "TMPSHIM_cleanup", "TMPSHIM_CLEANUP" } },
        { "TMPSHIM_CLEANUPS=all", { "TMPSHIM_CLEANUPS", "TMPSHIM_CLEANUP" } },
        { "TMPSHIM_CLEANUP=some", { "TMPSHIM_CLEANUP", "some", "all", "failed", "off" } },
        { "TMPSHIM_CLEANUP=ALL", { "TMPSHIM_CLEANUP", "ALL", "empty" } },
        { "TMPSHIM_CLEANUP= all", { "TMPSHIM_CLEANUP", "failed" } },
        { "TMPSHIM_CLEANUP=off\nlibtmpshim: a second line", { "TMPSHIM_CLEANUP", "failed" } },
        { "TMPSHIM_CLEANUP=\x1b[31m\xff", { "TMPSHIM_CLEANUP", "failed" } },
        { "TMPSHIM=no", { "TMPSHIM", "no", "on", "off" } },
        { "TMPSHIM=0", { "TMPSHIM", "on", "off" } },
        { "TMPSHIM_TMPFILE=never", { "TMPSHIM_TMPFILE", "never", "auto", "always", "off" } },
        { "TMPSHIM_REEXEC=maybe", { "TMPSHIM_REEXEC", "on", "off" } },
        { "TMPSHIM_LOG=relative/log", { "TMPSHIM_LOG", "relative/log", "stderr" } },
        { "TMPSHIM_STATE_DIR=relative", { "TMPSHIM_STATE_DIR", "relative" } },
        { long_value, { "TMPSHIM_CLEANUP", "failed" } },
        { long_name, { "TMPSHIM_0000", "TMPSHIM_CLEANUP" } },
        { "TMPSHIMMER=1", { NULL } },
        { "XTMPSHIM_FOO=1", { NULL } },
        { "TMPSHI=1", { NULL } },
        { "tmpshim_foo=1", { NULL } },
        { "TMPSHIM_CLEANUP=", { NULL } },
        { "TMPSHIM=", { NULL } },
    };
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
        struct seen seen = run_with_one(rules[r].setting, "victim");
        CHECKF(exited(seen.status, 7), "%.60s: %#x", rules[r].setting, seen.status);
        CHECKF(lines_in(seen.errors) == !!rules[r].words[0], "%.60s: %s", rules[r].setting, seen.errors);
        for (int w = 0; w < 5 && rules[r].words[w]; w++)
            CHECKF(strstr(seen.errors, rules[r].words[w]), "%.60s: no %s in %s", rules[r].setting, rules[r].words[w],
                   seen.errors);
        for (const char *c = seen.errors; *c; c++)
            CHECKF((unsigned char)*c >= ' ' || *c == '\n', "%.60s: a control character", rules[r].setting);
        CHECKF(count_names(".", "") == 0, "%.60s: not the default", rules[r].setting);
    }
    // Each problem has its line, and a good setting beside a bad one still counts.
    const char *several[] = { "TMPSHIM_FOO=1", "TMPSHIM_BAR=1", "TMPSHIM_CLEANUP=off", "TMPSHIM_REEXEC=x", NULL };
    struct seen seen = run_with(several, "victim");
    CHECKF(exited(seen.status, 7) && lines_in(seen.errors) == 3, "%s", seen.errors);
    CHECK(count_names(".", "d.") == 1);
    scrub_all();
    // Switched off, it has nothing to say about the rest.
    const char *off[] = { "TMPSHIM=off", "TMPSHIM_CLEANUP=all", NULL };
    seen = run_with(off, "victim");
    CHECKF(exited(seen.status, 7) && !*seen.errors, "%s", seen.errors);
    CHECK(count_names(".", "d.") == 1);
    scrub_all();
    return 0;
}
