// T7: publishing fails as it does natively, and what is at the target stays as it is: EEXIST for everything that exists,
// ENOENT with O_EXCL, for a missing directory and for a file that was deleted, EXDEV on another filesystem (the second
// argument), EACCES where the user may not write. Starts as root.
#include "check.h"
#include <grp.h>

#define USER 65534

static int publish(int fd, const char *target)
{
    return linkat(AT_FDCWD, fd_path(fd), AT_FDCWD, target, AT_SYMLINK_FOLLOW);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3 && chdir(argv[1]) == 0);
    int fd = OPEN(".", O_RDWR | O_TMPFILE, 0600);
    CHECK(fd >= 0 && write(fd, "new", 3) == 3);

    int old = open("file", O_RDWR | O_CREAT | O_EXCL, 0600);
    char back[8];
    CHECK(old >= 0 && write(old, "old", 3) == 3 && mkdir("directory", 0700) == 0 && symlink("nowhere", "dangling") == 0);
    CHECK_FAILS(publish(fd, "file"), EEXIST);
    CHECK(pread(old, back, sizeof back, 0) == 3 && memcmp(back, "old", 3) == 0);
    CHECK_FAILS(publish(fd, "directory"), EEXIST);
    CHECK_FAILS(publish(fd, "."), EEXIST);
    CHECK_FAILS(publish(fd, "dangling"), EEXIST);
    CHECK_FAILS(linkat(fd, "", AT_FDCWD, "file", AT_EMPTY_PATH), EEXIST);
    CHECK_FAILS(publish(fd, "missing/name"), ENOENT);
    CHECK_FAILS(publish(fd, "name/"), ENOENT);
    CHECK_FAILS(publish(fd, "file/name"), ENOTDIR);
    CHECK_FAILS(publish(fd, ""), ENOENT);
    CHECK_FAILS(publish(fd, NULL), EFAULT);
    CHECK_FAILS(linkat(fd, "", -1, "name", AT_EMPTY_PATH), EBADF);
    CHECK_FAILS(linkat(fd, "", AT_FDCWD, "name", AT_EMPTY_PATH | 0x40000000), EINVAL);
    CHECK_FAILS(linkat(fd, "", AT_FDCWD, "name", 0), ENOENT);
    CHECK_FAILS(publish(9999, "name"), ENOENT);
    char name[300];
    // One's own: whoever fails leaves it to nobody.
    CHECK(snprintf(name, sizeof name, "tmpshim-refused-%d", getpid()) > 0);
    CHECK_FAILS(publish(fd, in(argv[2], name)), EXDEV);
    memset(name, 'x', 299);
    name[299] = '\0';
    CHECK_FAILS(publish(fd, name), ENAMETOOLONG);

    // Without following, the link in /proc itself is meant, which is on another filesystem.
    CHECK_FAILS(linkat(AT_FDCWD, fd_path(fd), AT_FDCWD, "name", 0), EXDEV);

    int exclusive = OPEN(".", O_RDWR | O_TMPFILE | O_EXCL, 0600);
    CHECK(exclusive >= 0);
    CHECK_FAILS(publish(exclusive, "name"), ENOENT);
    CHECK_FAILS(linkat(exclusive, "", AT_FDCWD, "name", AT_EMPTY_PATH), ENOENT);
    CHECK(close(exclusive) == 0);

    CHECK(chmod("directory", 0755) == 0);
    IN_CHILD({
        CHECK(setgroups(0, NULL) == 0 && setgid(USER) == 0 && setuid(USER) == 0);
        int own = OPEN(".", O_RDWR | O_TMPFILE, 0600);
        CHECK(own >= 0);
        CHECK_FAILS(publish(own, "directory/name"), EACCES);
    });

    // After all of this it can still be published.
    CHECK(access("name", F_OK) == -1 && publish(fd, "name") == 0 && unlink("name") == 0);
    CHECK(unlink("file") == 0 && unlink("dangling") == 0 && rmdir("directory") == 0);
    return 0;
}
