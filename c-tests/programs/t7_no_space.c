// T7: when the space ends in the middle of publishing, the error goes back, the name does not exist, nothing is left, and
// the file is still there with its offset. Once there is space, publishing works. The filesystem has one mebibyte.
#include "check.h"

#define SIZE (700 * 1024)

static unsigned char data[SIZE], back[SIZE];

int main(int argc, char **argv)
{
    CHECK(argc == 2 && chdir(argv[1]) == 0);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (unsigned char)(i * 2654435761u >> 11) | 1;
    int fd = OPEN(".", O_RDWR | O_TMPFILE, 0600);
    CHECK(fd >= 0 && write(fd, data, SIZE) == SIZE && lseek(fd, 5, SEEK_SET) == 5);
    for (int i = 0; i < 3; i++) {
        CHECK_FAILS(linkat(AT_FDCWD, fd_path(fd), AT_FDCWD, "name", AT_SYMLINK_FOLLOW), ENOSPC);
        CHECK(access("name", F_OK) == -1 && count_names(".", ".tmpshim-") == 0);
    }
    CHECK(lseek(fd, 0, SEEK_CUR) == 5 && pread(fd, back, SIZE, 0) == SIZE && memcmp(back, data, SIZE) == 0);

    CHECK(ftruncate(fd, 100 * 1024) == 0);
    CHECK(linkat(AT_FDCWD, fd_path(fd), AT_FDCWD, "name", AT_SYMLINK_FOLLOW) == 0);
    struct stat status;
    CHECK(stat("name", &status) == 0 && status.st_size == 100 * 1024 && unlink("name") == 0);
    return 0;
}
