// Section 7: TMPSHIM_LOG names a file, or standard error, and gets one JSON object a line: what is written there can be
// read by a machine whatever the directory is called, and nothing is written anywhere else.
#include "settings.h"

// A reader of JSON that knows just enough to say no. Returns the rest, or NULL.
static const char *skip_value(const char *p);

static const char *skip_string(const char *p)
{
    if (*p++ != '"')
        return NULL;
    for (; *p != '"'; p++) {
        if ((unsigned char)*p < 0x20)
            return NULL;
        if (*p == '\\') {
            p++;
            if (*p == 'u' ? strspn(p + 1, "0123456789abcdefABCDEF") < 4 : !*p || !strchr("\"\\/bfnrt", *p))
                return NULL;
        }
    }
    return p + 1;
}

static const char *skip_object(const char *p)
{
    if (*p++ != '{')
        return NULL;
    while (*p != '}') {
        if (!(p = skip_string(p)) || *p++ != ':' || !(p = skip_value(p += *p == ' ')))
            return NULL;
        if (*p == ',' && p[1] != '}')
            p += 1 + (p[1] == ' ');
        else if (*p != '}')
            return NULL;
    }
    return p + 1;
}

static const char *skip_value(const char *p)
{
    size_t digits = strspn(p, "+-.eE0123456789");
    if (*p == '"')
        return skip_string(p);
    if (*p == '{')
        return skip_object(p);
    const char *words[] = { "true", "false", "null" };
    for (int w = 0; w < 3; w++)
        if (strncmp(p, words[w], strlen(words[w])) == 0)
            return p + strlen(words[w]);
    return digits ? p + digits : NULL;
}

static const char *const names[] = { "plain.XXXXXX", "new\nline.XXXXXX", "quote\"back\\slash.XXXXXX", "bytes\xff\xfe\x80.XXXXXX", "\x01\x1f\x7ftab\t.XXXXXX", "gr\xc3\xbc\xc3\x9f.XXXXXX" };

static int victim(const char *role)
{
    char dir[64];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        CHECK(mkdtemp(strcpy(dir, names[i])) == dir);
    if (role[0] == 's')
        raise(SIGTERM);
    if (role[0] == 'c')
        syscall(SYS_close_range, 0, ~0u, 0);
    return 0;
}

// At least a line for each directory, every one an object, and no half of one.
static void check_log(const char *text, const char *role)
{
    CHECKF(lines_in(text) >= (int)(sizeof names / sizeof *names), "%s: %s", role, text);
    CHECK(strstr(text, "plain.") && strstr(text, "gr\xc3\xbc\xc3\x9f."));
    for (const char *p = text; *p;) {
        const char *end = skip_object(p);
        CHECKF(end && *end == '\n', "%s: %s", role, p);
        p = end + 1;
    }
}

int main(int argc, char **argv)
{
    CHECK(argc > 1);
    // The image under test is in the directory already, and a relative path to the log would be a bad value.
    CHECK(chdir(argv[1]) == 0);
    if (argc > 2)
        return victim(argv[2]);
    char setting[PATH_MAX + 64] = "TMPSHIM_LOG=", text[1 << 16];
    CHECK(getcwd(setting + strlen(setting), PATH_MAX));
    strcat(setting, "/log");
    const char *roles[] = { "exit", "signal", "closed" };
    for (int r = 0; r < 3; r++) {
        struct seen seen = run_with_one(setting, roles[r]);
        CHECK(r == 1 ? killed(seen.status, SIGTERM) : exited(seen.status, 0));
        CHECKF(!*seen.errors, "%s", seen.errors);
        int fd = open("log", O_RDONLY);
        CHECK(fd >= 0);
        ssize_t n = read(fd, text, sizeof text - 1);
        close(fd);
        CHECK(n > 0);
        text[n] = 0;
        check_log(text, roles[r]);
        struct stat st;
        CHECK(stat("log", &st) == 0 && S_ISREG(st.st_mode) && !(st.st_mode & 022));
        // The log of several processes is one: it is appended to.
        put("log", "{}\n");
        run_with_one(setting, roles[r]);
        CHECK((fd = open("log", O_RDONLY)) >= 0 && read(fd, text, 3) == 3 && memcmp(text, "{}\n", 3) == 0);
        close(fd);
        CHECK(unlink("log") == 0 && count_names(".", "") == 0);
    }
    struct seen seen = run_with_one("TMPSHIM_LOG=stderr", "exit");
    CHECK(exited(seen.status, 0));
    check_log(seen.errors, "stderr");
    // Where no log can be written, the program is none the wiser.
    const char *hopeless[] = { "TMPSHIM_LOG=/nonexistent/log", "TMPSHIM_LOG=/", "TMPSHIM_LOG=/dev/full" };
    for (int i = 0; i < 3; i++) {
        seen = run_with_one(hopeless[i], "exit");
        CHECKF(exited(seen.status, 0) && lines_in(seen.errors) <= 1, "%s: %s", hopeless[i], seen.errors);
        CHECK(count_names(".", "") == 0);
    }
    seen = run_with_one(NULL, "exit");
    CHECK(exited(seen.status, 0) && !*seen.errors && count_names(".", "") == 0);
    return 0;
}
