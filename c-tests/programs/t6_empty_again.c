// T6: a directory is empty as soon as the O_TMPFILE file in it has been closed, also where a server keeps a name for what is
// open: nobody else may have it open a moment longer than the program.
#include "check.h"

#include <sys/stat.h>

int main(int argc, char **argv)
{
    CHECK(argc == 2 && chdir(argv[1]) == 0);
    for (int round = 0; round < 400; round++) {
        CHECK(mkdir("around", 0700) == 0);
        int fd = OPEN("around", O_TMPFILE | O_RDWR, round % 2 ? 0600 : 0644);
        CHECK(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
        CHECK(rmdir("around") == 0);
    }
    return 0;
}
