// T3: what is written can be read back, through the descriptor, after a fork and through /proc/self/fd, and the file has no
// name.
#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    int fd = OPEN(argv[1], O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK(write(fd, "hello", 5) == 5);
    char buffer[16];
    CHECK(pread(fd, buffer, sizeof buffer, 0) == 5 && memcmp(buffer, "hello", 5) == 0);

    struct stat status;
    CHECK(fstat(fd, &status) == 0);
    CHECK(S_ISREG(status.st_mode) && status.st_size == 5 && status.st_uid == geteuid());

    // libfuse keeps the name of an unlinked open file, under another one: that is the server's doing.
    CHECK(count_names(argv[1], "") == count_names(argv[1], ".fuse_hidden"));

    int again = open(fd_path(fd), O_RDONLY);
    CHECK(again >= 0);
    CHECK(read(again, buffer, sizeof buffer) == 5 && memcmp(buffer, "hello", 5) == 0);

    IN_CHILD({ CHECK(pwrite(fd, "HELLO", 5, 0) == 5); });
    CHECK(pread(fd, buffer, sizeof buffer, 0) == 5 && memcmp(buffer, "HELLO", 5) == 0);
    return 0;
}
