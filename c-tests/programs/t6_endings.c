// T6: hidden names are gone when the program has ended, however it ends: the second argument. The harness looks.
#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    for (int i = 0; i < 10; i++) {
        int fd = OPEN(argv[1], O_RDWR | O_TMPFILE, 0644);
        CHECK(fd >= 0 && write(fd, "x", 1) == 1);
        int again = open(fd_path(fd), O_RDONLY);
        CHECK(again >= 0 && close(again) == 0);
    }
    if (strcmp(argv[2], "exit") == 0)
        exit(0);
    if (strcmp(argv[2], "_exit") == 0)
        _exit(0);
    if (strcmp(argv[2], "quick_exit") == 0)
        quick_exit(0);
    if (strcmp(argv[2], "abort") == 0)
        abort();
    if (strcmp(argv[2], "SIGTERM") == 0)
        raise(SIGTERM);
    if (strcmp(argv[2], "SIGSEGV") == 0)
        raise(SIGSEGV);
    return strcmp(argv[2], "return") == 0 ? 0 : 1;
}
