// The observer and its victim: what the D programs share.
//
// A victim plays the legacy binary: a forked child (a fresh image where the settings must be read anew) that makes its
// directories and ends in some way. The observer made none, so what it finds afterwards is the library's doing alone.
// Every program begins in DIR, so a relative template is the rule here and an absolute one the exception.
#ifndef VICTIM_H
#define VICTIM_H

#include "check.h"

#include <sys/resource.h>

#pragma GCC diagnostic ignored "-Wunused-function"

// CHECK that also says where a loop stood.
#define CHECKF(expression, ...)                                                                                        \
    do {                                                                                                               \
        if (!(expression)) {                                                                                           \
            int check_errno = errno;                                                                                   \
            fprintf(stderr, "%s:%d: %s (errno %d, %s): ", __FILE__, __LINE__, #expression, check_errno,                \
                    strerror(check_errno));                                                                            \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

// What has to hold once a victim's directories are gone: at once, where it removes them itself.
#define GONE(expression, ...)                                                                                          \
    do {                                                                                                               \
        GIVE_TIME_UNTIL(expression);                                                                                   \
        CHECKF(expression, "names are left: " __VA_ARGS__);                                                            \
    } while (0)

typedef void part(const void *how);

// Starts a victim that plays its part and then, if it has not ended, calls exit(0).
static pid_t start(part *play, const void *how)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        play(how);
        exit(0);
    }
    return pid;
}

static int ended(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) != pid)
        CHECK(errno == EINTR);
    return status;
}

static int watch(part *play, const void *how)
{
    return ended(start(play, how));
}

// Runs this program again as `program DIR role`, with the settings (NAME=value, ended by NULL) added.
static int watch_image(const char *image, const char *name, const char *const *settings, const char *role)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        for (; settings && *settings; settings++)
            putenv((char *)*settings);
        execl(image, name, ".", role, (char *)NULL);
        CHECKF(0, "exec %s", image);
    }
    return ended(pid);
}

static int exited(int status, int code)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

static int killed(int status, int sig)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == sig;
}

static int exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECKF(fd >= 0, "%s", path);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static int holds(const char *path, const char *text)
{
    char buf[4096] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, buf, sizeof buf - 1);
    close(fd);
    return n == (ssize_t)strlen(text) && memcmp(buf, text, n) == 0;
}

// Clears up what a test was right to find left, with a program that is no part of the test.
static void scrub(const char *path)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        execlp("rm", "rm", "-rf", "--one-file-system", "--", path, (char *)NULL);
        _exit(127);
    }
    CHECKF(exited(ended(pid), 0), "rm %s", path);
}

// A signal that a program can name and whose default ends it. Libc keeps the first real-time signals for itself: it
// refuses them, so the list is its own.
static int deadly(int sig)
{
    struct sigaction now;
    switch (sig) {
    case SIGKILL: case SIGSTOP: case SIGTSTP: case SIGTTIN: case SIGTTOU:
    case SIGCHLD: case SIGCONT: case SIGURG: case SIGWINCH:
        return 0;
    }
    return sigaction(sig, NULL, &now) == 0;
}

#define EVERY_DEADLY_SIGNAL(sig) for (int sig = 1; sig <= 64; sig++) if (deadly(sig))

#endif
