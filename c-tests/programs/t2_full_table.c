// T2: with a full descriptor table the answer is EMFILE and nothing is made; with exactly one free descriptor the open
// works, and takes that one.
#include "check.h"
#include <sys/resource.h>

#define LIMIT 64

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    const struct rlimit limit = { LIMIT, LIMIT };
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    while (open("/dev/null", O_RDONLY) != -1)
        ;
    CHECK(errno == EMFILE);
    CHECK_FAILS(OPEN(argv[1], O_RDWR | O_TMPFILE, 0600), EMFILE);
    CHECK_FAILS(OPENAT(AT_FDCWD, argv[1], O_RDWR | O_TMPFILE, 0600), EMFILE);

    const int holes[] = { LIMIT - 1, 40, 3 };
    for (int i = 0; i < 3; i++) {
        CHECK(close(holes[i]) == 0);
        int fd = OPEN(argv[1], O_RDWR | O_TMPFILE, 0640);
        CHECK(fd == holes[i]);
        CHECK(write(fd, "abc", 3) == 3);
        CHECK_FAILS(OPEN(argv[1], O_RDWR | O_TMPFILE, 0600), EMFILE);
    }
    return 0;
}
