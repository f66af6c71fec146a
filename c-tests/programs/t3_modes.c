// T3: the mode is what a native O_TMPFILE gives: what was asked for, without the umask, setuid, setgid and sticky bits
// included. The descriptor can be used in the way asked for whatever the mode says. Runs as root.
#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    static const mode_t umasks[] = { 0, 02, 022, 027, 077, 0177, 0777 };
    static const mode_t modes[] = { 0,    0400, 0600, 0640,  0644,  0664,  0666,
                                    0700, 0755, 0777, 04755, 02755, 01777, 07777 };
    int wrong = 0;
    for (size_t u = 0; u < sizeof umasks / sizeof *umasks; u++)
        for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
            umask(umasks[u]);
            struct stat status;
            int fd = OPEN(argv[1], O_RDWR | O_TMPFILE, modes[m]);
            CHECK(fd >= 0 && fstat(fd, &status) == 0);
            if (!mode_is(fd, modes[m] & ~umasks[u])) {
                fprintf(stderr, "mode %04o, umask %03o: %04o\n", modes[m], umasks[u], status.st_mode & 07777);
                wrong++;
            }
            CHECK(umask(0) == umasks[u]);
            CHECK(write(fd, "x", 1) == 1 && close(fd) == 0);
        }
    CHECK(wrong == 0);
    return 0;
}
