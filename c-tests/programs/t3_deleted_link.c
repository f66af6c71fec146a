// T3: /proc/self/fd/N reads as the path of something deleted, as programs that check it expect, and the link count is 0.
// Not on mergerfs, where a hidden name is kept (T6).
#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    static const char suffix[] = " (deleted)";
    for (int i = 0; i < 10; i++) {
        char target[PATH_MAX];
        struct stat status;
        int fd = OPEN(argv[1], O_RDWR | O_TMPFILE, i % 2 ? 0600 : 0644);
        CHECK(fd >= 0);
        ssize_t length = readlink(fd_path(fd), target, sizeof target);
        CHECK(length > (ssize_t)sizeof suffix && memcmp(target + length - 10, suffix, 10) == 0);
        CHECK(strncmp(target, argv[1], strlen(argv[1])) == 0);
        CHECK(fstat(fd, &status) == 0);
    }
    return 0;
}
