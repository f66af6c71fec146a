// T3: the directory can be named in every way: relative, below a directory descriptor (an O_PATH one too), through a
// symbolic link, which O_NOFOLLOW forbids, by a descriptor of a directory that was renamed, and with slashes after it.
#include "check.h"

#define FLAGS (O_RDWR | O_TMPFILE)

static int kept;

static void works(int fd, dev_t device)
{
    struct stat status;
    CHECK(fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_dev == device);
    kept = name_is_kept(fd);
    CHECK(write(fd, "x", 1) == 1 && close(fd) == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    struct stat status;
    CHECK(stat(argv[1], &status) == 0);
    dev_t device = status.st_dev;
    CHECK(chdir(argv[1]) == 0 && mkdir("inner", 0700) == 0 && symlink("inner", "link") == 0);
    // In a child, whose end takes hidden names (T6) along.
    IN_CHILD({
        int path = open(".", O_PATH);
        int dirfd = open("inner", O_RDONLY | O_DIRECTORY);
        CHECK(path >= 0 && dirfd >= 0);

        works(OPEN(".", FLAGS, 0600), device);
        works(OPEN("inner", FLAGS, 0600), device);
        works(OPEN("inner///", FLAGS, 0600), device);
        works(OPEN("link", FLAGS, 0600), device);
        works(OPEN("link/.", FLAGS | O_NOFOLLOW, 0600), device);
        works(OPENAT(path, "inner", FLAGS, 0600), device);
        works(OPENAT(path, ".", FLAGS, 0600), device);
        works(OPENAT(dirfd, "..", FLAGS, 0600), device);
        works(OPENAT(dirfd, "../link", FLAGS, 0600), device);
        works(OPENAT(dirfd, argv[1], FLAGS, 0600), device);
        works(OPEN(fd_path(dirfd), FLAGS, 0600), device);
        CHECK_FAILS(OPEN("link", FLAGS | O_NOFOLLOW, 0600), ENOTDIR);
        CHECK_FAILS(OPENAT(path, "link", FLAGS | O_NOFOLLOW, 0600), ENOTDIR);

        // A hidden name is remembered by its path, which the program must leave alone.
        if (!kept) {
            CHECK(rename("inner", "renamed") == 0);
            works(OPENAT(dirfd, ".", FLAGS, 0600), device);
            CHECK(rename("renamed", "inner") == 0);
        }
    });
    CHECK(unlink("link") == 0);
    EVENTUALLY(rmdir("inner") == 0);
    return 0;
}
