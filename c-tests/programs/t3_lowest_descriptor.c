// T3: the descriptor is the lowest free one, as open(2) promises, whatever holes there are, and no other appears.
#include "check.h"

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    for (int fd = open("/dev/null", O_RDONLY); fd < 40;)
        fd = open("/dev/null", O_RDONLY);
    const int holes[] = { 3, 4, 7, 8, 20, 39 };
    enum { HOLES = sizeof holes / sizeof *holes };
    for (int i = 0; i < HOLES; i++)
        CHECK(close(holes[i]) == 0);
    int before = open_descriptors();
    for (int i = 0; i < HOLES; i++) {
        CHECK(OPEN(argv[1], O_RDWR | O_TMPFILE, 0640) == holes[i]);
        CHECK(open_descriptors() == before + i + 1);
    }
    // Standard input closed: the file is descriptor 0.
    CHECK(close(0) == 0 && OPEN(argv[1], O_RDWR | O_TMPFILE, 0600) == 0);
    CHECK(open_descriptors() == before + HOLES);
    return 0;
}
