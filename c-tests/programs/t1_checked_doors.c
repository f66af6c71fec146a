// T1: the doors that _FORTIFY_SOURCE uses when the mode is left out. glibc ends the program there for O_TMPFILE, on every
// filesystem; under the library it gets a file of mode 0600. What these doors do for other opens stays: an ordinary file is
// opened, and O_CREAT without a mode ends the program.
#include "check.h"

// Not in any header: the compiler puts in the calls.
int __open_2(const char *, int);
int __open64_2(const char *, int);
int __openat_2(int, const char *, int);
int __openat64_2(int, const char *, int);

static int through(int door, const char *path, int flags)
{
    switch (door) {
    case 0:
        return __open_2(path, flags);
    case 1:
        return __open64_2(path, flags);
    case 2:
        return __openat_2(AT_FDCWD, path, flags);
    default:
        return __openat64_2(AT_FDCWD, path, flags);
    }
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    const char *file = in(argv[1], "file");
    CHECK(close(open(file, O_WRONLY | O_CREAT | O_EXCL, 0600)) == 0);
    for (int door = 0; door < 4; door++) {
        int fd = through(door, file, O_RDONLY);
        CHECK(fd >= 0 && close(fd) == 0);
        CHECK_FAILS(through(door, in(argv[1], "missing"), O_RDONLY), ENOENT);

        pid_t child = fork();
        CHECK(child != -1);
        if (child == 0) {
            CHECK(freopen("/dev/null", "w", stderr) != NULL);
            through(door, in(argv[1], "created"), O_WRONLY | O_CREAT);
            _exit(0);
        }
        CHECK(exit_of(child) == 128 + SIGABRT);
        CHECK(access(in(argv[1], "created"), F_OK) == -1);
    }
    CHECK(unlink(file) == 0);

    for (int door = 0; door < 4; door++) {
        struct stat status;
        int fd = through(door, argv[1], O_RDWR | O_TMPFILE);
        CHECK(fd >= 0 && write(fd, "abc", 3) == 3);
        CHECK(fstat(fd, &status) == 0 && (status.st_mode & 07777) == 0600 && status.st_size == 3);
        CHECK(close(fd) == 0);
    }
    return 0;
}
