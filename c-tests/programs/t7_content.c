// T7: the published file is whole: content, holes, mode, owner, times and extended attributes.
#include "check.h"
#include <sys/xattr.h>

#define DATA (64 * 1024)
#define HOLE (8 * 1024 * 1024)

static unsigned char data[DATA], back[DATA];

int main(int argc, char **argv)
{
    CHECK(argc == 2 && chdir(argv[1]) == 0);
    umask(0);
    for (size_t i = 0; i < DATA; i++)
        data[i] = (unsigned char)(i * 2654435761u >> 11);
    int fd = OPEN(".", O_RDWR | O_TMPFILE, 0644);
    // Data, a hole, data, and a hole at the end.
    CHECK(fd >= 0 && pwrite(fd, data, DATA, 0) == DATA && pwrite(fd, data, DATA, DATA + HOLE) == DATA);
    CHECK(ftruncate(fd, 2 * DATA + 2 * (off_t)HOLE) == 0);
    CHECK(fchmod(fd, 0754) == 0 && fchown(fd, 1234, 4321) == 0);
    int attributes = fsetxattr(fd, "user.tmpshim", "value", 5, 0) == 0;
    const struct timespec times[2] = { { 1000000, 0 }, { 2000000, 0 } };
    CHECK(futimens(fd, times) == 0);
    struct stat status;
    CHECK(fstat(fd, &status) == 0);
    int sparse = status.st_blocks * 512 < HOLE;

    CHECK(linkat(AT_FDCWD, fd_path(fd), AT_FDCWD, "name", AT_SYMLINK_FOLLOW) == 0);
    int reader = open("name", O_RDONLY);
    CHECK(reader >= 0 && fstat(reader, &status) == 0);
    CHECK(status.st_size == 2 * DATA + 2 * (off_t)HOLE && (status.st_mode & 07777) == 0754);
    CHECK(status.st_uid == 1234 && status.st_gid == 4321 && status.st_mtime == 2000000);
    CHECK(!sparse || status.st_blocks * 512 < HOLE);
    char value[8];
    CHECK(!attributes || (fgetxattr(reader, "user.tmpshim", value, 8) == 5 && memcmp(value, "value", 5) == 0));
    CHECK(pread(reader, back, DATA, 0) == DATA && memcmp(back, data, DATA) == 0);
    CHECK(pread(reader, back, DATA, DATA + HOLE) == DATA && memcmp(back, data, DATA) == 0);
    for (off_t at = DATA; at < DATA + HOLE; at += DATA) {
        CHECK(pread(reader, back, DATA, at) == DATA);
        for (size_t i = 0; i < DATA; i++)
            CHECK(back[i] == 0);
    }
    CHECK(unlink("name") == 0);
    return 0;
}
