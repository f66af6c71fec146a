// T6: where a file cannot be used any more once its name is gone, everything works all the same, for one file and for many
// at once.
#include "check.h"

#define FILES 100

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    int fds[FILES];
    char back[32], text[32];
    struct stat status;
    for (int i = 0; i < FILES; i++) {
        fds[i] = OPEN(argv[1], O_RDWR | O_TMPFILE | O_CLOEXEC, 0644);
        CHECK(fds[i] >= 0);
    }
    for (int i = 0; i < FILES; i++) {
        int length = snprintf(text, sizeof text, "file %d", i);
        CHECK(write(fds[i], text, (size_t)length) == length);
    }
    for (int i = 0; i < FILES; i++) {
        int length = snprintf(text, sizeof text, "file %d", i);
        CHECK(fstat(fds[i], &status) == 0 && status.st_size == length);
        CHECK(pread(fds[i], back, sizeof back, 0) == length && memcmp(back, text, (size_t)length) == 0);
        int again = open(fd_path(fds[i]), O_RDWR);
        CHECK(again >= 0 && read(again, back, sizeof back) == length && memcmp(back, text, (size_t)length) == 0);
        CHECK(write(again, "!", 1) == 1 && close(again) == 0);
        CHECK(fchmod(fds[i], 0600) == 0 && ftruncate(fds[i], 0) == 0);
    }
    return 0;
}
