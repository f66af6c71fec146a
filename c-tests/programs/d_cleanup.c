// Section 7: TMPSHIM_CLEANUP and TMPSHIM decide what goes, for every way to end; the exit status is never theirs.
#include "settings.h"

static int victim(const char *role)
{
    char empty[] = "empty.XXXXXX", full[] = "full.XXXXXX";
    CHECK(mkdtemp(empty) == empty && mkdtemp(full) == full);
    put(in(full, "content"), "x");
    int code = atoi(strchr(role, '-') + 1);
    if (role[0] == 'e')
        exit(code);
    if (role[0] == 'l')
        _exit(code);
    if (role[0] == 'q')
        quick_exit(code);
    if (role[0] == 'g')
        syscall(SYS_exit_group, code);
    if (role[0] == 's')
        raise(code);
    if (role[0] == 'a')
        abort();
    return code;
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    if (argc > 2)
        return victim(argv[2]);

    // What must be left: e for the empty one, f for the full one; after success and after failure.
    static const struct { const char *setting, *success, *failure; } rules[] = {
        { NULL, "", "" }, { "TMPSHIM_CLEANUP=all", "", "" }, { "TMPSHIM_CLEANUP=empty", "f", "f" },
        { "TMPSHIM_CLEANUP=failed", "ef", "" }, { "TMPSHIM_CLEANUP=off", "ef", "ef" }, { "TMPSHIM=off", "ef", "ef" },
        { "TMPSHIM=on", "", "" }, { "TMPSHIM_CLEANUP=", "", "" },
    };
    static const struct { const char *role; int status; } ends[] = {
        { "exit-0", 0 }, { "low-0", 0 }, { "quick-0", 0 }, { "group-0", 0 }, { "return-0", 0 },
        { "exit-3", 3 << 8 }, { "low-3", 3 << 8 }, { "quick-3", 3 << 8 }, { "group-3", 3 << 8 }, { "return-3", 3 << 8 },
        { "exit-255", 255 << 8 }, { "signal-15", SIGTERM }, { "signal-2", SIGINT }, { "signal-13", SIGPIPE },
        { "abort-0", SIGABRT },
        // Only the low eight bits of a code reach the parent: this one is a success.
        { "exit-256", 0 },
    };
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++)
        for (size_t e = 0; e < sizeof ends / sizeof *ends; e++) {
            struct seen seen = run_with_one(rules[r].setting, ends[e].role);
            const char *left = ends[e].status ? rules[r].failure : rules[r].success;
            CHECKF((seen.status & ~0x80) == ends[e].status, "%s, %s: %#x", rules[r].setting, ends[e].role, seen.status);
            CHECKF(!*seen.errors, "%s: %s", rules[r].setting, seen.errors);
            CHECKF(count_names(".", "empty.") == !!strchr(left, 'e'), "%s, %s", rules[r].setting, ends[e].role);
            CHECKF(count_names(".", "full.") == !!strchr(left, 'f'), "%s, %s", rules[r].setting, ends[e].role);
            scrub_all();
        }
    return 0;
}
