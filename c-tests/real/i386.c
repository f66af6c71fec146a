// An i386 program, static, which makes its system calls by i386's numbers: open, openat, openat2 with O_TMPFILE, and linkat.
// usage: i386 DIRECTORY open|openat|openat2|publish
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(void *) == 4 && SYS_openat == 295 && SYS_linkat == 303, "this is to be an i386 program");

// What i386's kernel interface calls O_LARGEFILE; programs that know large files give it.
#define LARGE 0100000

#define CHECK(condition)                                                                          \
    do                                                                                            \
        if (!(condition)) {                                                                       \
            printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno));           \
            exit(1);                                                                              \
        }                                                                                         \
    while (0)

static int open_by(const char *call, const char *directory, int flags, int mode)
{
    struct {
        uint64_t flags, mode, resolve;
    } how = { (uint64_t)(flags | O_TMPFILE), (uint64_t)mode, 0 };
    if (strcmp(call, "open") == 0)
        return syscall(SYS_open, directory, flags | O_TMPFILE, mode);
    if (strcmp(call, "openat2") == 0)
        return syscall(SYS_openat2, AT_FDCWD, directory, &how, sizeof how);
    return syscall(SYS_openat, AT_FDCWD, directory, flags | O_TMPFILE, mode);
}

static void check_file(int fd, int flags, mode_t mode)
{
    char text[16] = "", path[64], name[PATH_MAX] = "";
    struct stat status;
    CHECK(fd >= 0);
    // A supervisor of 64 bits has no files but large ones to give, and neither has the kernel's openat2.
    CHECK((fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND)) == (flags & (O_ACCMODE | O_APPEND)));
    CHECK(!(flags & LARGE) || fcntl(fd, F_GETFL) & LARGE);
    CHECK(fcntl(fd, F_GETFD) == (flags & O_CLOEXEC ? FD_CLOEXEC : 0));
    CHECK(fstat(fd, &status) == 0 && S_ISREG(status.st_mode));
    CHECK((status.st_mode & 07777) == mode);
    CHECK(write(fd, "some text", 9) == 9);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (!getenv("NAMES_STAY") || !*getenv("NAMES_STAY"))
        CHECK(readlink(path, name, sizeof name - 1) > 0 && strstr(name, " (deleted)"));
    int again = open(path, O_RDONLY);
    CHECK(again >= 0 && read(again, text, sizeof text) == 9 && strcmp(text, "some text") == 0);
    CHECK(close(again) == 0);
}

static void publish(const char *directory)
{
    char path[64], target[PATH_MAX], text[32] = "";
    for (int way = 0; way < 2; way++) {
        int fd = open_by("openat", directory, O_RDWR | LARGE, 0640);
        CHECK(fd >= 0 && write(fd, "published", 9) == 9);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        snprintf(target, sizeof target, "%s/target", directory);
        CHECK(way ? syscall(SYS_linkat, fd, "", AT_FDCWD, target, AT_EMPTY_PATH) == 0
                  : syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, target, AT_SYMLINK_FOLLOW) == 0);
        CHECK(write(fd, " and more", 9) == 9);
        CHECK(syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, target, AT_SYMLINK_FOLLOW) == -1 && errno == EEXIST);
        int reader = open(target, O_RDONLY);
        struct stat status;
        CHECK(reader >= 0 && read(reader, text, sizeof text) == 18 && memcmp(text, "published and more", 18) == 0);
        CHECK(fstat(reader, &status) == 0 && (status.st_mode & 07777) == 0640);
        CHECK(close(reader) == 0 && close(fd) == 0 && unlink(target) == 0);
    }
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    umask(022);
    if (strcmp(argv[2], "publish") == 0) {
        publish(argv[1]);
        return 0;
    }
    const mode_t modes[] = { 0600, 0644 };
    const int flags[] = { O_RDWR, O_RDWR | LARGE, O_RDWR | O_CLOEXEC | O_APPEND | LARGE };
    for (size_t mode = 0; mode < 2; mode++)
        for (size_t which = 0; which < sizeof flags / sizeof *flags; which++) {
            int fd = open_by(argv[2], argv[1], flags[which], modes[mode]);
            check_file(fd, flags[which], getenv("NAMES_STAY") && *getenv("NAMES_STAY") ? 0600 : modes[mode]);
            CHECK(close(fd) == 0);
        }
    // What is no O_TMPFILE is the kernel's business.
    CHECK(open_by(argv[2], argv[1], O_RDONLY, 0600) == -1 && errno == EINVAL);
    CHECK(open_by(argv[2], "/dev/null", O_RDWR, 0600) == -1 && errno == ENOTDIR);
    CHECK(open_by(argv[2], "/nowhere", O_RDWR, 0600) == -1 && errno == ENOENT);
    return 0;
}
