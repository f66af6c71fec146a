// T7: a duplicate of the descriptor that existed before publishing is the published file as well, with the offset shared.
#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc == 2 && chdir(argv[1]) == 0);
    char back[8];
    int fd = OPEN(".", O_RDWR | O_TMPFILE, 0600);
    CHECK(fd >= 0);
    int copy = dup(fd);
    CHECK(copy >= 0 && write(fd, "abc", 3) == 3);
    CHECK(linkat(AT_FDCWD, fd_path(fd), AT_FDCWD, "name", AT_SYMLINK_FOLLOW) == 0);
    CHECK(write(copy, "def", 3) == 3 && lseek(fd, 0, SEEK_CUR) == 6);
    int reader = open("name", O_RDONLY);
    CHECK(reader >= 0 && read(reader, back, sizeof back) == 6 && memcmp(back, "abcdef", 6) == 0);
    CHECK(unlink("name") == 0);
    return 0;
}
