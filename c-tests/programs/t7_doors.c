// T7: the file is published through every name that a descriptor has: the descriptor itself (which needs a capability on
// older kernels: runs as root), and the links in /proc and /dev that lead to it.
#include "check.h"

static void published(const char *directory, int fd, int result, const char *name)
{
    char back[8];
    struct stat status;
    if (result != 0)
        fprintf(stderr, "%s:\n", name);
    CHECK(result == 0);
    int reader = open(in(directory, name), O_RDONLY);
    CHECK(reader >= 0 && read(reader, back, sizeof back) == 4 && memcmp(back, "text", 4) == 0);
    CHECK(fstat(reader, &status) == 0 && (status.st_mode & 07777) == 0640);
    CHECK(close(reader) == 0 && close(fd) == 0 && unlink(in(directory, name)) == 0);
}

static int file(const char *directory)
{
    int fd = OPEN(directory, O_RDWR | O_TMPFILE, 0640);
    CHECK(fd >= 0 && write(fd, "text", 4) == 4);
    return fd;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    const char *directory = argv[1];
    umask(0);
    int dirfd = open(directory, O_RDONLY | O_DIRECTORY);
    CHECK(dirfd >= 0);

    int fd = file(directory);
    published(directory, fd, linkat(fd, "", dirfd, "empty-path", AT_EMPTY_PATH), "empty-path");
    fd = file(directory);
    published(directory, fd, (int)syscall(SYS_linkat, fd, "", dirfd, "syscall", AT_EMPTY_PATH), "syscall");

    const char *const forms[] = { "/proc/self/fd/%d", "/dev/fd/%d", "/proc/thread-self/fd/%d", "/proc/%2$d/fd/%1$d",
                                  "/proc/%2$d/task/%2$d/fd/%1$d", "/proc/self/../self/fd/%d", "//proc//self/fd//%d" };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char path[80];
        fd = file(directory);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat"
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
        snprintf(path, sizeof path, forms[i], fd, getpid());
#pragma GCC diagnostic pop
        int result = linkat(AT_FDCWD, path, AT_FDCWD, in(directory, "name"), AT_SYMLINK_FOLLOW);
        if (result != 0)
            fprintf(stderr, "%s\n", path);
        published(directory, fd, result, "name");
    }

    // A number below an open directory of descriptors.
    int descriptors = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
    char number[16];
    fd = file(directory);
    snprintf(number, sizeof number, "%d", fd);
    published(directory, fd, linkat(descriptors, number, dirfd, "relative", AT_SYMLINK_FOLLOW), "relative");

    // Standard input, which /dev/stdin leads to.
    fd = file(directory);
    CHECK(dup2(fd, 0) == 0);
    published(directory, fd, linkat(AT_FDCWD, "/dev/stdin", dirfd, "stdin", AT_SYMLINK_FOLLOW), "stdin");

    // A duplicate of the descriptor, and one from another open of the same file.
    CHECK(close(0) == 0);
    fd = file(directory);
    int copy = dup(fd);
    published(directory, fd, linkat(AT_FDCWD, fd_path(copy), dirfd, "copy", AT_SYMLINK_FOLLOW), "copy");
    CHECK(close(copy) == 0);
    return 0;
}
