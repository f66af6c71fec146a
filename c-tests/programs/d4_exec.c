// D4: a handler cannot outlive exec, and must not leave a trace there: what the program starts has the dispositions, the
// mask and the ignored signals that it would have had.
#include "victim.h"

#include <spawn.h>

extern char **environ;
static char self[PATH_MAX];
static char *const child[] = { self, ".", "child", NULL };

// In the new image: nothing caught, only SIGHUP ignored, only SIGUSR1 blocked.
static void look(void)
{
    char line[256], *end;
    FILE *f = fopen("/proc/self/status", "r");
    CHECK(f);
    int seen = 0;
    while (fgets(line, sizeof line, f)) {
        unsigned long long bits = strtoull(line + (strchr(line, '\t') ? strcspn(line, "\t") : 0), &end, 16);
        // glibc's posix_spawn leaves the two signals that are its own ignored.
        bits &= ~(7ull << 31);
        if (strncmp(line, "SigCgt:", 7) == 0)
            CHECKF(bits == 0 && ++seen, "%s", line);
        if (strncmp(line, "SigIgn:", 7) == 0)
            CHECKF(bits == 1ull << (SIGHUP - 1) && ++seen, "%s", line);
        if (strncmp(line, "SigBlk:", 7) == 0)
            CHECKF(bits == 1ull << (SIGUSR1 - 1) && ++seen, "%s", line);
    }
    fclose(f);
    CHECK(seen == 3);
}

static void by_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(execv(self, child));
    CHECK(exited(ended(pid), 0));
}

static void by_vfork(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execv(self, child);
        _exit(127);
    }
    CHECK(exited(ended(pid), 0));
}

static void by_spawn(void)
{
    pid_t pid;
    CHECK(posix_spawn(&pid, self, NULL, NULL, child, environ) == 0);
    CHECK(exited(ended(pid), 0));
}

// A parent that asks for the defaults gets them, and no more.
static void by_spawn_with_defaults(void)
{
    pid_t pid;
    posix_spawnattr_t attributes;
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGHUP);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    CHECK(posix_spawn(&pid, self, NULL, &attributes, child, environ) == 0);
    CHECK(exited(ended(pid), 0));
}

static void by_system(void)
{
    char command[PATH_MAX + 16];
    snprintf(command, sizeof command, "exec '%s' . child", self);
    CHECK(exited(system(command), 0));
}

static void by_popen(void)
{
    char command[PATH_MAX + 16];
    snprintf(command, sizeof command, "exec '%s' . child", self);
    FILE *f = popen(command, "r");
    CHECK(f && exited(pclose(f), 0));
}

static void (*const ways[])(void) = { by_fork, by_vfork, by_spawn, by_spawn_with_defaults, by_system, by_popen };

static void play(const void *way)
{
    char dir[] = "d.XXXXXX";
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    CHECK(mkdtemp(dir) == dir);
    CHECK(signal(SIGHUP, SIG_IGN) == SIG_DFL && sigprocmask(SIG_SETMASK, &one, NULL) == 0);
    ways[*(const size_t *)way]();
    // Starting a program has changed nothing here either; system() for one sets signals and puts them back.
    CHECK(exists(dir) && signal(SIGINT, SIG_DFL) == SIG_DFL && signal(SIGQUIT, SIG_DFL) == SIG_DFL);
    raise(SIGINT);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    if (argc > 2) {
        look();
        return 0;
    }
    CHECK(chdir(argv[1]) == 0);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        int status = watch(play, &w);
        CHECKF(killed(status, SIGINT), "way %zu: status %#x", w, status);
        CHECKF(count_names(".", "") == 0, "way %zu", w);
    }
    return 0;
}
