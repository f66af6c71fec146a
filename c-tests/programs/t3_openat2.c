// T3: what openat2 forbids stays forbidden when the file is made in the other way: RESOLVE_ flags bind, unknown flags and
// sizes are refused as the kernel refuses them.
#include "check.h"

struct how {
    uint64_t flags, mode, resolve;
};
#define NO_XDEV 0x01
#define NO_SYMLINKS 0x04
#define BENEATH 0x08
#define IN_ROOT 0x10

static int inner;

static int ask(const char *path, uint64_t resolve)
{
    const struct how how = { .flags = O_RDWR | O_TMPFILE, .mode = 0640, .resolve = resolve };
    int fd;
    // EAGAIN: something was renamed or mounted meanwhile, anywhere, and the kernel cannot tell whether ".." is safe.
    do {
        fd = (int)syscall(SYS_openat2, inner, path, &how, sizeof how);
    } while (fd == -1 && errno == EAGAIN);
    return fd;
}

static void works(int fd)
{
    CHECK(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
}

static void resolves(const char *absolute)
{
    works(ask("deep", 0));
    works(ask("..", 0));
    works(ask("deep", BENEATH | NO_SYMLINKS | NO_XDEV));
    works(ask("link", BENEATH));
    works(ask("root", IN_ROOT));
    works(ask("../../..", IN_ROOT));
    CHECK_FAILS(ask("..", BENEATH), EXDEV);
    CHECK_FAILS(ask("up", BENEATH), EXDEV);
    CHECK_FAILS(ask(absolute, BENEATH), EXDEV);
    CHECK_FAILS(ask("link", NO_SYMLINKS), ELOOP);
    CHECK_FAILS(ask("missing", BENEATH), ENOENT);
}

// A mode bit that the kernel does not know, a flag, a resolve flag, the size.
static void refuses(void)
{
    struct how how = { .flags = O_RDWR | O_TMPFILE, .mode = 0200000 };
    CHECK_FAILS(syscall(SYS_openat2, inner, ".", &how, sizeof how), EINVAL);
    how = (struct how){ .flags = O_RDWR | O_TMPFILE | 1ull << 40, .mode = 0600 };
    CHECK_FAILS(syscall(SYS_openat2, inner, ".", &how, sizeof how), EINVAL);
    how = (struct how){ .flags = O_RDWR | O_TMPFILE, .mode = 0600, .resolve = 1ull << 40 };
    CHECK_FAILS(syscall(SYS_openat2, inner, ".", &how, sizeof how), EINVAL);
    how = (struct how){ .flags = O_RDWR | O_TMPFILE, .mode = 0600 };
    CHECK_FAILS(syscall(SYS_openat2, inner, ".", &how, (size_t)16), EINVAL);
    CHECK_FAILS(syscall(SYS_openat2, inner, ".", NULL, sizeof how), EFAULT);
    // A longer structure is accepted as long as what the kernel does not know is zero.
    uint64_t longer[4] = { O_RDWR | O_TMPFILE, 0600, 0, 0 };
    works((int)syscall(SYS_openat2, inner, ".", longer, sizeof longer));
    longer[3] = 1;
    CHECK_FAILS(syscall(SYS_openat2, inner, ".", longer, sizeof longer), E2BIG);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    CHECK(chdir(argv[1]) == 0 && mkdir("inner", 0700) == 0 && mkdir("inner/deep", 0700) == 0);
    CHECK(symlink("deep", "inner/link") == 0 && symlink("/", "inner/root") == 0 && symlink("../..", "inner/up") == 0);
    inner = open("inner", O_RDONLY | O_DIRECTORY);
    CHECK(inner >= 0);

    // In a child, whose end takes hidden names (T6) along.
    IN_CHILD({
        resolves(argv[1]);
        refuses();
    });
    CHECK(unlink("inner/link") == 0 && unlink("inner/root") == 0 && unlink("inner/up") == 0);
    EVENTUALLY(rmdir("inner/deep") == 0);
    EVENTUALLY(rmdir("inner") == 0);
    return 0;
}
