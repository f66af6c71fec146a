// T6: a server that makes a great many of them has only a few hidden names in the directory at any time, and a few
// descriptors open. The second argument says how many it makes.
#include "check.h"

#define NAMES 64

int main(int argc, char **argv)
{
    CHECK(argc >= 2);
    int files = argc == 2 ? 20000 : atoi(argv[2]);
    int most = 0;
    for (int i = 0; i < files; i++) {
        int fd = OPEN(argv[1], O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
        CHECK(fd >= 0 && fd < 8);
        CHECK(write(fd, "x", 1) == 1 && close(fd) == 0);
        if (i % 100 == 99) {
            int names = count_names(argv[1], "");
            most = names > most ? names : most;
        }
    }
    if (most > NAMES)
        fprintf(stderr, "%d names at once\n", most);
    CHECK(most <= NAMES);
    return 0;
}
