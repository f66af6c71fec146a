// T7: a published file can be linked again, under any number of names, and all are the same file.
#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc == 2 && chdir(argv[1]) == 0);
    static const char *const names[] = { "one", "two", "three" };
    char back[4];
    int fd = OPEN(".", O_RDWR | O_TMPFILE, 0600);
    CHECK(fd >= 0 && write(fd, "abc", 3) == 3);
    for (int i = 0; i < 3; i++)
        CHECK(linkat(AT_FDCWD, fd_path(fd), AT_FDCWD, names[i], AT_SYMLINK_FOLLOW) == 0);
    CHECK_FAILS(linkat(AT_FDCWD, fd_path(fd), AT_FDCWD, "two", AT_SYMLINK_FOLLOW), EEXIST);
    // Content tells: mergerfs gives each name another inode number, and FUSE servers count links late.
    CHECK(pwrite(fd, "ABC", 3, 0) == 3);
    for (int i = 0; i < 3; i++) {
        int reader = open(names[i], O_RDONLY);
        CHECK(reader >= 0 && read(reader, back, sizeof back) == 3 && memcmp(back, "ABC", 3) == 0);
        CHECK(close(reader) == 0 && unlink(names[i]) == 0);
    }
    return 0;
}
