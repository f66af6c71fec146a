// T2: a directory that the user may not write or search is refused as it is natively, and one that the user may write but
// not read is enough. Starts as root.
#include "check.h"
#include <grp.h>

#define USER 65534

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    const struct {
        const char *name;
        mode_t mode;
        int number;
    } cases[] = { { "read-only", 0755, EACCES },      { "closed", 0700, EACCES },      { "no-search", 0746, EACCES },
                  { "closed/inner", 0777, EACCES },   { "no-write", 0555, EACCES },    { "write-and-search", 0773, 0 },
                  { "open", 0777, 0 } };
    enum { CASES = sizeof cases / sizeof *cases };
    for (int i = 0; i < CASES; i++)
        CHECK(mkdir(in(argv[1], cases[i].name), 0700) == 0 && chmod(in(argv[1], cases[i].name), cases[i].mode) == 0);

    IN_CHILD({
        CHECK(setgroups(0, NULL) == 0 && setgid(USER) == 0 && setuid(USER) == 0);
        for (int i = 0; i < CASES; i++) {
            const char *path = in(argv[1], cases[i].name);
            if (cases[i].number != 0) {
                CHECK_FAILS(OPEN(path, O_RDWR | O_TMPFILE, 0600), cases[i].number);
                continue;
            }
            struct stat status;
            int fd = OPEN(path, O_RDWR | O_TMPFILE, 0600);
            CHECK(fd >= 0 && write(fd, "x", 1) == 1);
            CHECK(fstat(fd, &status) == 0 && status.st_uid == USER && status.st_gid == USER);
            // A file without any permission is still ours to write.
            int none = OPEN(path, O_RDWR | O_TMPFILE, 0);
            CHECK(none >= 0 && write(none, "x", 1) == 1);
            CHECK(mode_is(none, 0));
        }
    });
    // libfuse gives names back a moment after the last close.
    for (int i = CASES - 1; i >= 0; i--)
        EVENTUALLY(rmdir(in(argv[1], cases[i].name)) == 0 || errno == ENOENT);
    return 0;
}
