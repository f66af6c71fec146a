// Running c-tests/killer: a program, often this one again in some role, that is killed at one of its system calls.
#ifndef KILL_H
#define KILL_H

#include "victim.h"

#include <sys/mman.h>

// From here on the stops are counted.
static void mark(void)
{
    CHECK_FAILS(close(-424242), EBADF);
}

// The path of this program, for exec: "/proc/self/exe" would be kill_at.
static const char *self(void)
{
    static char path[PATH_MAX];
    CHECK(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
    return path;
}

struct killing {
    int reached;      // false once there are not as many stops
    char words[512];  // what kill_at says about it
};

static struct killing kill_at(long n, const char *option, const char *const *command)
{
    struct killing result = { 0 };
    const char *killer = getenv("KILL_AT");
    char number[24];
    const char *arguments[16] = { "kill_at", option, number };
    size_t used = 3;
    CHECK(killer != NULL && (size_t)snprintf(number, sizeof number, "%ld", n) < sizeof number);
    while (*command != NULL && used < 15)
        arguments[used++] = *command++;
    int out = memfd_create("words", MFD_CLOEXEC);
    CHECK(*command == NULL && out >= 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(out, 1);
        execv(killer, (char *const *)arguments);
        _exit(125);
    }
    int status = ended(pid);
    CHECKF(exited(status, 0) || exited(status, 3), "stop %ld of %s: kill_at's status %#x", n, arguments[4], status);
    // Its line is the last one, behind what the program said.
    char said[sizeof result.words] = "";
    off_t length = lseek(out, 0, SEEK_END), start = length < (off_t)sizeof said ? 0 : length - (off_t)sizeof said + 1;
    CHECK(pread(out, said, sizeof said - 1, start) > 0 && said[length - start - 1] == '\n');
    said[length - start - 1] = '\0';
    const char *line = strrchr(said, '\n');
    strcpy(result.words, line ? line + 1 : said);
    close(out);
    result.reached = exited(status, 0);
    return result;
}

#endif
