// T2: of all errnos that O_TMPFILE can be refused with, the five that mean "not supported" lead to a second attempt, which
// works; any other goes back untouched, and nothing more is tried. Runs with the fault injector.
#include "check.h"
#include <dlfcn.h>

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    void (*fault_rules)(const char *) = (void (*)(const char *))dlsym(RTLD_DEFAULT, "fault_rules");
    CHECK(fault_rules != NULL);
    for (int number = 1; number < 134; number++) {
        char rules[64];
        int unsupported = number == EOPNOTSUPP || number == EISDIR || number == ENOSYS || number == EINVAL ||
                          number == ENOENT;
        snprintf(rules, sizeof rules, "open:O_TMPFILE:%d,openat:O_TMPFILE:%d", number, number);
        fault_rules(rules);
        for (int door = 0; door < 2; door++) {
            errno = 0;
            int fd = door ? openat(AT_FDCWD, argv[1], O_RDWR | O_TMPFILE, 0600)
                          : open(argv[1], O_RDWR | O_TMPFILE, 0600);
            if ((fd >= 0) != unsupported || (fd < 0 && errno != number))
                fprintf(stderr, "refused with %s: descriptor %d, %s\n", strerrorname_np(number), fd, strerror(errno));
            CHECK(unsupported ? fd >= 0 : fd == -1 && errno == number);
            CHECK(fd == -1 || (write(fd, "x", 1) == 1 && close(fd) == 0));
        }
        // What was wrong with the call stays wrong: these are no calls for a second attempt.
        CHECK_FAILS(open(argv[1], O_RDONLY | O_TMPFILE, 0600), number);
        CHECK_FAILS(open(argv[1], O_RDWR | O_CREAT | O_TMPFILE, 0600), number);
    }
    return 0;
}
