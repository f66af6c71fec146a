// T3: everything that is done with a file works on it: shared mappings, truncation, permissions, times, both kinds of locks,
// appending.
#include "check.h"
#include <sys/file.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    struct stat status;
    char back[8];
    int fd = OPEN(argv[1], O_RDWR | O_TMPFILE, 0600);
    CHECK(fd >= 0);
    CHECK(ftruncate(fd, 8192) == 0 && fstat(fd, &status) == 0 && status.st_size == 8192);
    char *mapping = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(mapping != MAP_FAILED);
    IN_CHILD({ strcpy(mapping + 4096, "mapped"); });
    CHECK(strcmp(mapping + 4096, "mapped") == 0 && msync(mapping, 8192, MS_SYNC) == 0);
    CHECK(munmap(mapping, 8192) == 0);
    CHECK(pread(fd, back, 6, 4096) == 6 && memcmp(back, "mapped", 6) == 0);
    CHECK(ftruncate(fd, 0) == 0 && fstat(fd, &status) == 0 && status.st_size == 0);

    CHECK(fchmod(fd, 0644) == 0 && fstat(fd, &status) == 0 && (status.st_mode & 07777) == 0644);
    const struct timespec times[2] = { { 1000, 0 }, { 2000, 0 } };
    CHECK(futimens(fd, times) == 0 && fstat(fd, &status) == 0 && status.st_mtime == 2000);
    CHECK(fsync(fd) == 0 && fdatasync(fd) == 0);

    CHECK(flock(fd, LOCK_EX | LOCK_NB) == 0 && flock(fd, LOCK_UN) == 0);
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    CHECK(fcntl(fd, F_SETLK, &lock) == 0);
    IN_CHILD({
        struct flock other = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        CHECK(fcntl(fd, F_SETLK, &other) == -1 && (errno == EAGAIN || errno == EACCES));
    });

    int append = OPEN(argv[1], O_WRONLY | O_TMPFILE | O_APPEND, 0600);
    CHECK(append >= 0 && write(append, "abc", 3) == 3 && lseek(append, 0, SEEK_SET) == 0);
    CHECK(write(append, "def", 3) == 3 && lseek(append, 0, SEEK_CUR) == 6);
    CHECK_FAILS(read(append, back, 1), EBADF);
    return 0;
}
