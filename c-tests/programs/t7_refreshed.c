// T7 where a FUSE server keeps a name of its own for what is unlinked while open (bindfs): once the kernel has counted the
// links afresh, native linkat would take that name. What is published must behave as ever: readers see later writes at
// once, and O_EXCL forbids it.
#include "check.h"

// Longer than the second for which FUSE believes what it knows.
static void refresh(int fd)
{
    struct stat status;
    usleep(1100000);
    CHECK(fstat(fd, &status) == 0);
}

static int publish(int fd, const char *target)
{
    return linkat(AT_FDCWD, fd_path(fd), AT_FDCWD, target, AT_SYMLINK_FOLLOW);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2 && chdir(argv[1]) == 0);
    char back[16];
    int fd = OPEN(".", O_RDWR | O_TMPFILE, 0640);
    int exclusive = OPEN(".", O_RDWR | O_TMPFILE | O_EXCL, 0640);
    CHECK(fd >= 0 && exclusive >= 0 && write(fd, "before ", 7) == 7);
    refresh(fd);
    refresh(exclusive);
    CHECK_FAILS(publish(exclusive, "exclusive"), ENOENT);
    CHECK(publish(fd, "name") == 0);
    CHECK(write(fd, "after", 5) == 5);
    int reader = open("name", O_RDONLY);
    CHECK(reader >= 0 && read(reader, back, sizeof back) == 12 && memcmp(back, "before after", 12) == 0);
    CHECK(unlink("name") == 0);
    return 0;
}
