// D7: nothing about the process tells that a directory is tracked: the same descriptors, threads, children, environment,
// working directory, mask and limits as before, and not a byte of output.
#include "victim.h"

extern char **environ;

static char told[2][1 << 17];

static void tell(char **into, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void tell(char **into, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    *into += vsprintf(*into, format, arguments);
    va_end(arguments);
}

static void list(char **into, const char *path)
{
    char target[PATH_MAX];
    DIR *d = opendir(path);
    CHECK(d);
    for (struct dirent *e; (e = readdir(d));) {
        ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof target - 1);
        tell(into, "%s %s -> %.*s\n", path, e->d_name, (int)(n > 0 ? n : 0), target);
    }
    closedir(d);
}

// Everything that a program can see of itself and would notice.
static void examine(char *into)
{
    char line[256];
    list(&into, "/proc/self/fd");
    list(&into, "/proc/self/task");
    for (char **e = environ; *e; e++)
        tell(&into, "%s\n", *e);
    tell(&into, "%s\n", getcwd(line, sizeof line));
    FILE *f = fopen("/proc/self/status", "re");
    CHECK(f);
    const char *lines[] = {
        "Umask:", "Uid:", "Gid:", "FDSize:", "Threads:", "SigPnd:", "ShdPnd:", "SigBlk:", "SigIgn:", "CapEff:",
        "NoNewPrivs:", "Seccomp:",
    };
    while (fgets(line, sizeof line, f))
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
            if (strncmp(line, lines[i], strlen(lines[i])) == 0)
                tell(&into, "%s", line);
    fclose(f);
    for (int r = 0; r < RLIM_NLIMITS; r++) {
        struct rlimit limit;
        CHECK(getrlimit(r, &limit) == 0);
        tell(&into, "limit %d: %lu %lu\n", r, (unsigned long)limit.rlim_cur, (unsigned long)limit.rlim_max);
    }
    siginfo_t child;
    errno = 0;
    int result = waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT);
    tell(&into, "children: %d %d\n", result, errno);
}

static int sink;

static void play(const void *end)
{
    char dir[] = "d.XXXXXX";
    CHECK(dup2(sink, 1) == 1 && dup2(sink, 2) == 2);
    close(sink);
    // The first look opens what stdio and opendir keep for later.
    examine(told[0]);
    examine(told[0]);
    CHECK(mkdtemp(dir) == dir);
    examine(told[1]);
    if (strcmp(told[0], told[1]) != 0) {
        dprintf(1, "before:\n%s\nafter:\n%s\n", told[0], told[1]);
        _exit(1);
    }
    put(in(dir, "content"), "x");
    if (end)
        raise(SIGTERM);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    for (int end = 0; end < 2; end++) {
        int p[2];
        char said[1 << 14] = "";
        CHECK(pipe(p) == 0);
        sink = p[1];
        int status = watch(play, end ? "end" : NULL);
        close(p[1]);
        CHECK(fcntl(p[0], F_SETFL, O_NONBLOCK) == 0);
        ssize_t n = read(p[0], said, sizeof said - 1);
        close(p[0]);
        CHECKF(n == 0, "output: %s", said);
        CHECKF(end ? killed(status, SIGTERM) : exited(status, 0), "status %#x", status);
        GONE(count_names(".", "") == 0);
    }
    return 0;
}
