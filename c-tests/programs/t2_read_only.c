// T2: EROFS from a read-only mount goes back. The mount is in a child's own mount namespace; starts as root.
#include "check.h"
#include <sched.h>
#include <sys/mount.h>

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    const char *directory = argv[1];
    int fd = OPEN(directory, O_WRONLY | O_TMPFILE, 0600);
    CHECK(fd >= 0 && close(fd) == 0);
    IN_CHILD({
        CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
        CHECK(mount(directory, directory, NULL, MS_BIND, NULL) == 0);
        CHECK(mount(NULL, directory, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0);
        CHECK_FAILS(OPEN(directory, O_WRONLY | O_TMPFILE, 0600), EROFS);
        CHECK_FAILS(OPENAT(AT_FDCWD, directory, O_RDWR | O_TMPFILE, 0600), EROFS);
    });
    return 0;
}
