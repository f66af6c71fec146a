// T3: in a directory with a default ACL, mode and ACL of the file are what creating it there gives: the ACL, not the umask,
// takes bits away. Where the filesystem has no ACLs the two files are compared all the same.
#include "check.h"
#include <sys/xattr.h>

#define VERSION 2, 0, 0, 0
#define ENTRY(tag, permissions, id) tag, 0, permissions, 0, (id) & 255, (id) >> 8 & 255, (id) >> 16 & 255, (id) >> 24 & 255
#define NOBODY 0xffffffffu

// user::rwx user:1234:rw- group::r-- mask::MASK other::---, as it lies in the extended attribute.
static size_t acl(unsigned char *out, unsigned mask, unsigned other)
{
    const unsigned char text[] = { VERSION,
                                   ENTRY(0x01, 7, NOBODY),
                                   ENTRY(0x02, 6, 1234u),
                                   ENTRY(0x04, 4, NOBODY),
                                   ENTRY(0x10, (unsigned char)mask, NOBODY),
                                   ENTRY(0x20, (unsigned char)other, NOBODY) };
    memcpy(out, text, sizeof text);
    return sizeof text;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    unsigned char text[64], expected[256], got[256];
    static const mode_t modes[] = { 0, 0600, 0640, 0666, 0660, 0755, 0777, 02770 };
    static const mode_t umasks[] = { 0, 022, 077 };
    for (unsigned mask = 0; mask < 8; mask += 2)
        for (size_t m = 0; m < sizeof modes / sizeof *modes; m++)
            for (size_t u = 0; u < sizeof umasks / sizeof *umasks; u++) {
                size_t size = acl(text, mask, mask & 4);
                if (setxattr(argv[1], "system.posix_acl_default", text, size, 0) != 0)
                    CHECK(errno == EOPNOTSUPP);
                umask(umasks[u]);
                struct stat made, asked;
                int ordinary = open(in(argv[1], "ordinary"), O_RDWR | O_CREAT | O_EXCL, modes[m]);
                int fd = OPEN(argv[1], O_RDWR | O_TMPFILE, modes[m]);
                CHECK(ordinary >= 0 && fd >= 0 && fstat(ordinary, &made) == 0 && fstat(fd, &asked) == 0);
                CHECK(mode_is(fd, (asked.st_mode & 07000) | (made.st_mode & 0777)));
                CHECK(made.st_uid == asked.st_uid && made.st_gid == asked.st_gid);
                ssize_t one = fgetxattr(ordinary, "system.posix_acl_access", expected, sizeof expected);
                ssize_t two = fgetxattr(fd, "system.posix_acl_access", got, sizeof got);
                CHECK(name_is_kept(fd) || one == two);
                CHECK(name_is_kept(fd) || one <= 0 || memcmp(expected, got, (size_t)one) == 0);
                CHECK(close(fd) == 0 && close(ordinary) == 0 && unlink(in(argv[1], "ordinary")) == 0);
            }
    return 0;
}
