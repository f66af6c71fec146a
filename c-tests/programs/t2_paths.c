// T2: a path on which O_TMPFILE cannot work gives the errno that it gives natively, whatever the pointer is; and success
// leaves errno alone.
#include "check.h"
#include <sys/mman.h>

#define FLAGS (O_RDWR | O_TMPFILE)

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    const char *directory = argv[1];
    CHECK(close(open(in(directory, "file"), O_WRONLY | O_CREAT | O_EXCL, 0600)) == 0);
    CHECK(symlink("loop", in(directory, "loop")) == 0);
    CHECK(symlink("missing", in(directory, "dangling")) == 0);
    CHECK(symlink("file", in(directory, "to-file")) == 0);
    CHECK_FAILS(OPEN(in(directory, "file"), FLAGS, 0600), ENOTDIR);
    CHECK_FAILS(OPEN(in(directory, "to-file"), FLAGS, 0600), ENOTDIR);
    CHECK_FAILS(OPEN(in(directory, "file/below"), FLAGS, 0600), ENOTDIR);
    CHECK_FAILS(OPEN(in(directory, "missing"), FLAGS, 0600), ENOENT);
    CHECK_FAILS(OPEN(in(directory, "missing/"), FLAGS, 0600), ENOENT);
    CHECK_FAILS(OPEN(in(directory, "dangling"), FLAGS, 0600), ENOENT);
    CHECK_FAILS(OPEN(in(directory, "loop"), FLAGS, 0600), ELOOP);
    CHECK_FAILS(OPEN("", FLAGS, 0600), ENOENT);
    CHECK_FAILS(OPENAT(-1, "relative", FLAGS, 0600), EBADF);
    int file = open(in(directory, "file"), O_RDONLY);
    CHECK_FAILS(OPENAT(file, ".", FLAGS, 0600), ENOTDIR);
    CHECK(close(file) == 0);

    // Pointers: none, one that is nowhere, one that may not be read, a string that runs into unreadable memory.
    char *const pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED && mprotect(pages + 4096, 4096, PROT_NONE) == 0);
    memset(pages, '/', 4096);
    const char *const bad[] = { NULL, (const char *)8, (const char *)-4096, pages + 4096, pages + 4000 };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *volatile pointer = bad[i];
        CHECK_FAILS(OPEN(pointer, FLAGS, 0600), EFAULT);
        CHECK_FAILS(OPENAT(AT_FDCWD, pointer, FLAGS, 0600), EFAULT);
    }

    // The longest path that the kernel takes is PATH_MAX with its end; a component has 255 bytes.
    char path[PATH_MAX + 2];
    memset(path, '/', sizeof path);
    memcpy(path, directory, strlen(directory));
    path[PATH_MAX - 1] = '\0';
    errno = 123;
    int fd = OPEN(path, FLAGS, 0600);
    CHECK(fd >= 0 && errno == 123 && close(fd) == 0);
    path[PATH_MAX - 1] = '/';
    path[PATH_MAX] = '\0';
    CHECK_FAILS(OPEN(path, FLAGS, 0600), ENAMETOOLONG);
    memset(path, 'x', 300);
    path[300] = '\0';
    // Some servers say ENOENT here, to whatever looks the name up.
    CHECK(stat(in(directory, path), &(struct stat){ 0 }) == -1);
    int number = errno;
    CHECK_FAILS(OPEN(in(directory, path), FLAGS, 0600), number);

    errno = 123;
    fd = OPENAT(AT_FDCWD, directory, FLAGS, 0600);
    CHECK(fd >= 0 && errno == 123 && close(fd) == 0);
    // A directory opened as one, and O_PATH, which makes the kernel drop the bit, are no business of ours.
    fd = OPEN(directory, O_RDONLY | O_DIRECTORY, 0);
    CHECK(fd >= 0 && close(fd) == 0);
    fd = OPEN(directory, O_RDWR | O_PATH | O_TMPFILE, 0600);
    CHECK(fd >= 0 && (fcntl(fd, F_GETFL) & O_PATH) != 0 && close(fd) == 0);

    CHECK(unlink(in(directory, "file")) == 0 && unlink(in(directory, "loop")) == 0);
    CHECK(unlink(in(directory, "dangling")) == 0 && unlink(in(directory, "to-file")) == 0);
    return 0;
}
