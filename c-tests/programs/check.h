// What every test program shares. `program DIR [argument…]`: DIR is an empty directory on the filesystem under test. A
// program that passes is silent and exits 0.
//
// Opens go through the four doors below, so that one source can be built for every way of reaching the kernel: with
// VIA_SYSCALL they are syscall(2), otherwise libc's functions, under _FORTIFY_SOURCE libc's checked ones.
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Ends the program, with the place, the expression and what errno says, unless the expression holds.
#define CHECK(expression)                                                                                              \
    do {                                                                                                               \
        if (!(expression)) {                                                                                           \
            int check_errno = errno;                                                                                   \
            fprintf(stderr, "%s:%d: %s (errno %d, %s)\n", __FILE__, __LINE__, #expression, check_errno,                \
                    strerror(check_errno));                                                                            \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

// The call fails with exactly this errno.
#define CHECK_FAILS(call, number)                                                                                      \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        long check_result = (long)(call);                                                                              \
        if (check_result != -1 || errno != (number)) {                                                                 \
            int check_errno = errno;                                                                                   \
            fprintf(stderr, "%s:%d: %s: result %ld, errno %d (%s), must fail with %s\n", __FILE__, __LINE__, #call,    \
                    check_result, check_errno, strerror(check_errno), #number);                                        \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#ifdef VIA_SYSCALL
#ifdef SYS_open
#define OPEN(path, flags, mode) ((int)syscall(SYS_open, (path), (flags), (mode)))
#else
#define OPEN(path, flags, mode) ((int)syscall(SYS_openat, AT_FDCWD, (path), (flags), (mode)))
#endif
#define OPENAT(dirfd, path, flags, mode) ((int)syscall(SYS_openat, (dirfd), (path), (flags), (mode)))
#else
#define OPEN(path, flags, mode) open((path), (flags), (mode))
#define OPENAT(dirfd, path, flags, mode) openat((dirfd), (path), (flags), (mode))
#endif

// Joins two parts of a path. The result is one of sixteen buffers, used in turn.
__attribute__((unused)) static const char *in(const char *directory, const char *name)
{
    static _Thread_local char buffers[16][PATH_MAX];
    static _Thread_local unsigned next;
    char *buffer = buffers[next++ % 16];
    CHECK(snprintf(buffer, PATH_MAX, "%s/%s", directory, name) < PATH_MAX);
    return buffer;
}

__attribute__((unused)) static const char *fd_path(int fd)
{
    static _Thread_local char buffers[16][64];
    static _Thread_local unsigned next;
    char *buffer = buffers[next++ % 16];
    snprintf(buffer, 64, "/proc/self/fd/%d", fd);
    return buffer;
}

// Whether the file keeps a hidden name while it is in use (T6).
__attribute__((unused)) static int name_is_kept(int fd)
{
    char target[PATH_MAX];
    ssize_t length = readlink(fd_path(fd), target, sizeof target - 1);
    CHECK(length > 0);
    target[length] = '\0';
    const char *name = strrchr(target, '/');
    return name != NULL && strncmp(name, "/.tmpshim-", 10) == 0 && strstr(name, " (deleted)") == NULL;
}

// Whether the mode is the expected one. A file with a hidden name has its owner's permissions only (T4).
__attribute__((unused)) static int mode_is(int fd, mode_t expected)
{
    struct stat status;
    CHECK(fstat(fd, &status) == 0);
    if (!name_is_kept(fd))
        return (status.st_mode & 07777) == expected;
    return (status.st_mode & 0700) == (expected & 0700) && (status.st_mode & 077) == 0;
}

// How many names beginning with `prefix` ("" for any) the directory has, without "." and "..".
__attribute__((unused)) static int count_names(const char *directory, const char *prefix)
{
    DIR *stream = opendir(directory);
    CHECK(stream != NULL);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
            count++;
    CHECK(closedir(stream) == 0);
    return count;
}

// Waits for a child and returns its exit status; a signal is 128 and its number.
__attribute__((unused)) static int exit_of(pid_t child)
{
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Runs the body in a child and requires that it passes there.
#define IN_CHILD(...)                                                                                                  \
    do {                                                                                                               \
        fflush(NULL);                                                                                                  \
        pid_t in_child = fork();                                                                                       \
        CHECK(in_child != -1);                                                                                         \
        if (in_child == 0) {                                                                                           \
            __VA_ARGS__;                                                                                               \
            exit(0);                                                                                                   \
        }                                                                                                              \
        CHECK(exit_of(in_child) == 0);                                                                                 \
    } while (0)

// Seconds on a clock that only runs forward, for deadlines.
__attribute__((unused)) static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// Waits up to five seconds for the condition: FUSE does some things later, and so do other processes.
#define EVENTUALLY(condition)                                                                                          \
    do {                                                                                                               \
        double eventually_deadline = seconds() + 5;                                                                    \
        int eventually_true;                                                                                           \
        while (!(eventually_true = (condition)) && seconds() < eventually_deadline)                                    \
            usleep(1000);                                                                                              \
        CHECK(eventually_true && #condition);                                                                          \
    } while (0)

// Whether it is a supervisor that cleans up, which hears of an end a moment later than the parent.
__attribute__((unused)) static int by_supervisor(void)
{
    const char *engine = getenv("TESTED_ENGINE");
    return engine != NULL && (strcmp(engine, "notify") == 0 || strcmp(engine, "trace") == 0 ||
                              (strcmp(engine, "auto") == 0 && getenv("TMPSHIM_TRACK")));
}

#define GIVE_TIME_UNTIL(expression)                                                                                    \
    for (double time_deadline = seconds() + 10; by_supervisor() && !(expression) && seconds() < time_deadline;)        \
        usleep(1000)

#endif
