// T3: O_DIRECT is carried over, with the result that it has for an ordinary file in the directory. A filesystem without
// O_DIRECT refuses both.
#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    const char *ordinary = in(argv[1], "ordinary");
    int expected = open(ordinary, O_RDWR | O_CREAT | O_EXCL | O_DIRECT, 0600);
    int number = errno;
    int fd = OPEN(argv[1], O_RDWR | O_TMPFILE | O_DIRECT, 0600);
    if (expected == -1)
        CHECK(fd == -1 && errno == number);
    else
        CHECK(fd >= 0 && (fcntl(fd, F_GETFL) & O_DIRECT) != 0);
    // A refused O_DIRECT can leave the name behind: open(2) creates first.
    CHECK(unlink(ordinary) == 0 || expected == -1);

    fd = OPEN(argv[1], O_RDWR | O_TMPFILE, 0600);
    CHECK(fd >= 0 && (fcntl(fd, F_GETFL) & O_DIRECT) == 0);
    return 0;
}
