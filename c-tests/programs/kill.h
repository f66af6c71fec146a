// Running c-tests/killer: a program, often this one again in some role, that is killed at one of its system calls.
#ifndef KILL_H
#define KILL_H

#include "victim.h"

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
    int out[2];
    CHECK(*command == NULL && pipe2(out, O_CLOEXEC) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(out[1], 1);
        execv(killer, (char *const *)arguments);
        _exit(125);
    }
    close(out[1]);
    size_t length = 0;
    for (ssize_t got; (got = read(out[0], result.words + length, sizeof result.words - 1 - length)) > 0;)
        length += (size_t)got;
    close(out[0]);
    result.words[strcspn(result.words, "\n")] = '\0';
    int status = ended(pid);
    CHECKF(exited(status, 0) || exited(status, 3), "stop %ld of %s: kill_at's status %#x", n, arguments[4], status);
    result.reached = exited(status, 0);
    return result;
}

#endif
