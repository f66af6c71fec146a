// T7: files that O_TMPFILE did not make keep native behaviour: a deleted file stays deleted, an ordinary one is linked, and
// so is what a descriptor number meant once and does not any more.
#include "check.h"

static int publish(int fd, const char *target)
{
    return linkat(AT_FDCWD, fd_path(fd), AT_FDCWD, target, AT_SYMLINK_FOLLOW);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2 && chdir(argv[1]) == 0);
    // The number of a file of ours, closed and used again for another.
    int fd = OPEN(".", O_RDWR | O_TMPFILE, 0600);
    CHECK(fd >= 0 && close(fd) == 0);
    int ordinary = open("ordinary", O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(ordinary == fd && write(ordinary, "abc", 3) == 3);
    CHECK(publish(ordinary, "second") == 0 && pwrite(ordinary, "ABC", 3, 0) == 3);
    char back[4];
    int second = open("second", O_RDONLY);
    CHECK(second >= 0 && read(second, back, sizeof back) == 3 && memcmp(back, "ABC", 3) == 0);
    CHECK(close(second) == 0 && unlink("second") == 0);

    CHECK(unlink("ordinary") == 0);
    CHECK_FAILS(publish(ordinary, "back"), ENOENT);
    CHECK_FAILS(linkat(ordinary, "", AT_FDCWD, "back", AT_EMPTY_PATH), ENOENT);
    CHECK(access("back", F_OK) == -1);
    return 0;
}
