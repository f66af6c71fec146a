// T3: in a setgid directory the file has the directory's group, and a setgid bit that the kernel strips from a group-
// executable file, because the user is not in that group, stays stripped; a blind fchmod would bring it back. A setgid bit
// without group execution is left out for him: no fchmod can give it. Starts as root.
#include "check.h"
#include <grp.h>

#define USER 65534
#define GROUP 4321

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    const char *directory = in(argv[1], "setgid");
    CHECK(mkdir(directory, 0700) == 0 && chown(directory, 0, GROUP) == 0 && chmod(directory, 02777) == 0);
    static const mode_t modes[] = { 0640, 0755, 02644, 02755, 02770, 06777, 02010 };

    // Outside of the group, and inside.
    for (int member = 0; member < 2; member++)
        IN_CHILD({
            const gid_t groups[] = { GROUP };
            CHECK(setgroups((size_t)member, groups) == 0 && setgid(USER) == 0 && setuid(USER) == 0);
            umask(0);
            for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
                if (!member && (modes[i] & 02010) == 02000)
                    continue;
                struct stat made;
                struct stat asked;
                int ordinary = open(in(directory, "ordinary"), O_RDWR | O_CREAT | O_EXCL, modes[i]);
                int fd = OPEN(directory, O_RDWR | O_TMPFILE, modes[i]);
                CHECK(ordinary >= 0 && fd >= 0 && fstat(ordinary, &made) == 0 && fstat(fd, &asked) == 0);
                CHECK(made.st_gid == asked.st_gid && made.st_uid == asked.st_uid);
                mode_t expected = modes[i];
                if (!member && (expected & 02010) == 02010)
                    expected &= (mode_t)~02000;
                if (!mode_is(fd, expected) && asked.st_mode != made.st_mode)
                    fprintf(stderr, "member %d, mode %04o: %04o, created %04o\n", member, modes[i],
                            asked.st_mode & 07777, made.st_mode & 07777);
                // A server may drop more than the kernel would, for every file that is created in it.
                CHECK(mode_is(fd, expected) || asked.st_mode == made.st_mode);
                CHECK(close(fd) == 0 && close(ordinary) == 0 && unlink(in(directory, "ordinary")) == 0);
            }
        });
    EVENTUALLY(rmdir(directory) == 0);
    return 0;
}
