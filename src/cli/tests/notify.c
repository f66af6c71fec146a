/* A program that no library reaches: static, on a directory that is its first argument. Exits with the number of the
 * line that found something wrong, or does what the second argument says. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static void use(int fd, int flags, mode_t mode)
{
    char text[4] = "", link[4096] = "", path[64];
    struct stat seen;
    CHECK(fd >= 0);
    CHECK(write(fd, "abc", 3) == 3);
    CHECK(pread(fd, text, 3, 0) == 3 && !strcmp(text, "abc"));
    CHECK(fstat(fd, &seen) == 0);
    CHECK(S_ISREG(seen.st_mode) && (seen.st_mode & 07777) == mode);
    CHECK(seen.st_uid == geteuid() && seen.st_gid == getegid());
    CHECK(!(fcntl(fd, F_GETFD) & FD_CLOEXEC) == !(flags & O_CLOEXEC));
    CHECK(!(fcntl(fd, F_GETFL) & O_APPEND) == !(flags & O_APPEND));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    CHECK(readlink(path, link, sizeof link - 1) > 0 && strstr(link, " (deleted)"));
    close(fd);
}

static void doors(const char *directory)
{
    char path[64];
    int dir = open(directory, O_RDONLY | O_DIRECTORY);
    struct { unsigned long flags, mode, resolve; } how = { O_TMPFILE | O_RDWR | O_CLOEXEC, 0600, 0 };
    CHECK(dir >= 0);
    umask(027);
    use(open(directory, O_TMPFILE | O_RDWR, 0666), 0, 0640);
    use(open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC | O_APPEND, 0600), O_CLOEXEC | O_APPEND, 0600);
    use(syscall(SYS_openat, dir, ".", O_TMPFILE | O_RDWR | O_EXCL, 0600), 0, 0600);
    use(syscall(SYS_openat2, dir, ".", &how, sizeof how), O_CLOEXEC, 0600);
    how.resolve = 0x08 /* RESOLVE_BENEATH */;
    use(syscall(SYS_openat2, dir, ".", &how, sizeof how), O_CLOEXEC, 0600);
    snprintf(path, sizeof path, "/proc/self/fd/%d", dir);
    use(open(path, O_TMPFILE | O_RDWR, 0600), 0, 0600);
    snprintf(path, sizeof path, "/dev/fd/%d", dir);
    use(open(path, O_TMPFILE | O_RDWR, 0600), 0, 0600);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", getpid(), dir);
    use(open(path, O_TMPFILE | O_RDWR, 0600), 0, 0600);
    CHECK(chdir(directory) == 0);
    use(open(".", O_TMPFILE | O_RDWR, 0600), 0, 0600);
    use(open("/proc/self/cwd", O_TMPFILE | O_RDWR, 0600), 0, 0600);
    use(open("/proc/thread-self/cwd/", O_TMPFILE | O_RDWR, 0600), 0, 0600);
    /* The lowest free number. */
    close(dir);
    CHECK(open(".", O_TMPFILE | O_RDWR, 0600) == dir);
    close(dir);
}

static void refusals(const char *directory)
{
    struct { unsigned long flags, mode, resolve; } how = { O_RDONLY, 0, 0 };
    CHECK(open(directory, O_TMPFILE | O_RDONLY, 0600) < 0 && errno == EINVAL);
    CHECK(open("/no/such/place", O_TMPFILE | O_RDWR, 0600) < 0 && errno == ENOENT);
    CHECK(open("/etc/passwd", O_TMPFILE | O_RDWR, 0600) < 0 && errno == ENOTDIR);
    CHECK(open("", O_TMPFILE | O_RDWR, 0600) < 0 && errno == ENOENT);
    CHECK(open((char *)8, O_TMPFILE | O_RDWR, 0600) < 0 && errno == EFAULT);
    CHECK(openat(99, ".", O_TMPFILE | O_RDWR, 0600) < 0 && errno == EBADF);
    CHECK(syscall(SYS_openat2, AT_FDCWD, directory, 8, sizeof how) < 0 && errno == EFAULT);
    CHECK(syscall(SYS_openat2, AT_FDCWD, directory, &how, 7) < 0 && errno == EINVAL);
    int plain = syscall(SYS_openat2, AT_FDCWD, directory, &how, sizeof how);
    CHECK(plain >= 0);
    close(plain);
}

static void as_somebody(const char *directory)
{
    char closed[4096];
    snprintf(closed, sizeof closed, "%s/closed", directory);
    CHECK(setgroups(0, NULL) == 0 && setresgid(12345, 12345, 12345) == 0 && setresuid(12345, 12345, 12345) == 0);
    umask(0);
    use(open(directory, O_TMPFILE | O_RDWR, 0640), 0, 0640);
    CHECK(open(closed, O_TMPFILE | O_RDWR, 0600) < 0 && errno == EACCES);
}

static void in_another_root(const char *directory)
{
    CHECK(chroot(directory) == 0 && chdir("/") == 0);
    CHECK(open("/proc/self/cwd", O_TMPFILE | O_RDWR, 0600) < 0 && errno == ENOENT);
    int fd = open("/", O_TMPFILE | O_RDWR, 0600);
    CHECK(fd >= 0 && write(fd, "abc", 3) == 3);
    close(fd);
}

static void say(const char *what)
{
    puts(what);
    fflush(stdout);
}

/* Opens before and after it may make no file any more; so does a child, and an orphan. Whether the kernel has Landlock. */
static void shut_in(const char *directory)
{
    const unsigned long long make_regular = 1 << 8;
    struct { unsigned long long handled; } rules = { make_regular };
    int pipes[2];
    char byte;
    int ruleset = syscall(444 /* landlock_create_ruleset */, &rules, sizeof rules, 0);
    if (ruleset < 0) {
        exit(77);
    }
    CHECK(open(directory, O_TMPFILE | O_RDWR, 0600) >= 0);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && pipe(pipes) == 0);
    CHECK(syscall(446 /* landlock_restrict_self */, ruleset, 0) == 0);
    CHECK(open(directory, O_TMPFILE | O_RDWR, 0600) < 0 && (errno == EOPNOTSUPP || errno == EACCES));
    if (fork() == 0) {
        if (fork() == 0) {
            /* Until its parent is gone. */
            CHECK(close(pipes[1]) == 0 && read(pipes[0], &byte, 1) == 0);
            CHECK(open(directory, O_TMPFILE | O_RDWR, 0600) < 0 && (errno == EOPNOTSUPP || errno == EACCES));
            say("nobody got out");
        }
        CHECK(open(directory, O_TMPFILE | O_RDWR, 0600) < 0 && (errno == EOPNOTSUPP || errno == EACCES));
        _exit(0);
    }
    int status;
    CHECK(wait(&status) > 0 && status == 0);
}

/* As somebody without rights that reach beyond a namespace: published by each way that needs none. */
static void publish(const char *directory)
{
    char from[64], to[4096], text[16];
    int fd = open(directory, O_TMPFILE | O_RDWR, 0640);
    CHECK(fd >= 0 && write(fd, "abc", 3) == 3);
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    snprintf(to, sizeof to, "%s/published-%d", directory, getpid());
    CHECK(linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW) == 0);
    CHECK(linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW) < 0 && errno == EEXIST);
    /* The descriptor is the published file's. */
    CHECK(write(fd, "def", 3) == 3 && close(fd) == 0);
    fd = open(to, O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof text) == 6 && !memcmp(text, "abcdef", 6));
    close(fd);
    CHECK(unlink(to) == 0);
}

static void make(const char *directory, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    CHECK(mkdir(path, 0700) == 0);
    snprintf(path, sizeof path, "%s/%s/file", directory, name);
    close(open(path, O_CREAT | O_WRONLY, 0600));
}

static void wait_for_the_end_of_input(void)
{
    char byte;
    while (read(0, &byte, 1) > 0) {}
}

/* A worker's directory goes with the worker, the master's with the last of its children. */
static void master(const char *directory)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/tracked-worker", directory);
    make(directory, "tracked-master");
    if (fork() == 0) {
        make(directory, "tracked-worker");
        _exit(0);
    }
    CHECK(wait(NULL) > 0);
    for (int patience = 0; access(path, F_OK) == 0 && patience < 20000; patience++) {
        usleep(1000);
    }
    say(access(path, F_OK) < 0 ? "worker's is gone" : "worker's is there");
    if (fork() == 0) {
        wait_for_the_end_of_input();
        snprintf(path, sizeof path, "%s/tracked-master/file", directory);
        say(access(path, F_OK) == 0 ? "still there" : "gone too early");
    }
}

/* Executes the rest of the command line in a sandbox: pairs of a system call's number and the errno it is to give,
 * closed by "--". */
static void deny(char **arguments)
{
    struct sock_filter program[64] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0) };
    unsigned short length = 1;
    for (; strcmp(*arguments, "--"); arguments += 2) {
        struct sock_filter one[] = {
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, atoi(arguments[0]), 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | atoi(arguments[1])),
        };
        memcpy(program + length, one, sizeof one);
        length += 2;
    }
    program[length++] = (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog filter = { length, program };
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
    execv(arguments[1], arguments + 1);
    CHECK(!"executed");
}

/* A filter of its own that wants a tracer, which it has not: the kernel says ENOSYS, whoever else traces it. */
static void own_filter(const char *directory)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | 7),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = { sizeof program / sizeof *program, program };
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
    CHECK(syscall(SYS_getppid) == -1 && errno == ENOSYS);
    use(open(directory, O_TMPFILE | O_RDWR, 0600), 0, 0600);
    CHECK(syscall(SYS_getppid) == -1 && errno == ENOSYS);
}

int main(int count, char **arguments)
{
    const char *directory = arguments[1], *what = arguments[2];
    CHECK(count > 2);
    if (!strcmp(what, "doors")) {
        doors(directory);
    } else if (!strcmp(what, "refusals")) {
        refusals(directory);
    } else if (!strcmp(what, "as-somebody")) {
        as_somebody(directory);
    } else if (!strcmp(what, "in-another-root")) {
        in_another_root(directory);
    } else if (!strcmp(what, "publish")) {
        publish(directory);
    } else if (!strcmp(what, "deny")) {
        deny(arguments + 3);
    } else if (!strcmp(what, "make")) {
        make(directory, "tracked");
        return atoi(arguments[3]);
    } else if (!strcmp(what, "shut-in")) {
        shut_in(directory);
    } else if (!strcmp(what, "own-filter")) {
        own_filter(directory);
    } else if (!strcmp(what, "made")) {
        char path[4096];
        snprintf(path, sizeof path, "%s/tracked/file", directory);
        make(directory, "tracked");
        wait_for_the_end_of_input();
        /* As long as it takes a supervisor to come by. */
        for (int patience = 0; access(path, F_OK) == 0 && patience < 200; patience++) {
            usleep(1000);
        }
        say(access(path, F_OK) == 0 ? "there" : "gone too early");
    } else if (!strcmp(what, "master")) {
        master(directory);
    } else if (!strcmp(what, "exit")) {
        CHECK(open(directory, O_TMPFILE | O_RDWR, 0600) >= 0);
        return atoi(arguments[3]);
    } else if (!strcmp(what, "signal")) {
        raise(atoi(arguments[3]));
    } else if (!strcmp(what, "wait")) {
        say("ready");
        pause();
    } else if (!strcmp(what, "answer")) {
        say("ready");
        wait_for_the_end_of_input();
        printf("%s\n", open(directory, O_TMPFILE | O_RDWR, 0600) < 0 ? strerror(errno) : "opened");
    } else if (!strcmp(what, "daemon")) {
        /* Outlives its parent, and opens when its input ends. */
        if (fork() == 0) {
            wait_for_the_end_of_input();
            int fd = open(directory, O_TMPFILE | O_RDWR, 0600);
            printf("%s\n", fd >= 0 && write(fd, "abc", 3) == 3 ? "opened" : strerror(errno));
        }
    } else if (!strcmp(what, "storm")) {
        for (int child = 0; child < 8; child++) {
            if (fork() == 0) {
                for (int round = 0; round < 50; round++) {
                    int fd = open(directory, O_TMPFILE | O_RDWR, 0600);
                    CHECK(fd == 3 && write(fd, "abc", 3) == 3 && close(fd) == 0);
                }
                _exit(0);
            }
        }
        for (int status; wait(&status) > 0;) {
            CHECK(status == 0);
        }
    }
    return 0;
}
