// T2 and T3, every combination of flags with the O_TMPFILE bit: on the directory, on a file and on a missing path, the
// result is that of a filesystem with O_TMPFILE (the second argument): the same errno, or a descriptor with the same
// status flags. Nothing is created in any other way. A third argument N takes only every Nth combination: where N is odd
// and small, still every flag with and without every other.
#include "raw.h"

// O_LARGEFILE as the kernel has it, which sets it by itself on a 64-bit system; libc's is 0 there.
#ifdef __aarch64__
#define LARGE 0400000
#else
#define LARGE 0100000
#endif
// What a program sees by F_GETFL, without the bits that only a native O_TMPFILE leaves there.
#define CARRIED (O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_NOATIME | O_ASYNC | O_PATH | LARGE)

static const int bits[] = { O_CREAT,   O_EXCL,    O_TRUNC, O_APPEND, O_NONBLOCK,  O_DSYNC,
                            O_NOFOLLOW, O_NOATIME, O_PATH,  O_CLOEXEC, O_DIRECTORY, O_NOCTTY };
enum { BITS = sizeof bits / sizeof *bits };

// A negative errno, or the descriptor's flags; the descriptor is closed, and what O_CREAT made is gone.
static int outcome(int fd, const char *made)
{
    unlink(made);
    if (fd < 0)
        return fd;
    int flags = fcntl(fd, F_GETFL) & CARRIED;
    int kept = fcntl(fd, F_GETFD) & FD_CLOEXEC;
    CHECK(close(fd) == 0);
    return flags | (kept ? O_CLOEXEC : 0);
}

int main(int argc, char **argv)
{
    CHECK(argc >= 3);
    unsigned stride = argc == 3 ? 1 : (unsigned)atoi(argv[3]);
    CHECK(stride % 2 == 1);
    char *oracle = strdup(in(argv[2], "tmpshim-flags-XXXXXX"));
    CHECK(mkdtemp(oracle) != NULL);
    const char *const names[] = { ".", "file", "missing" };
    const char *const roots[] = { argv[1], oracle };
    for (int i = 0; i < 2; i++)
        CHECK(close(open(in(roots[i], "file"), O_WRONLY | O_CREAT | O_EXCL, 0600)) == 0);

    int wrong = 0;
    for (unsigned set = 0; set < 4u << BITS; set += stride) {
        int flags = (O_TMPFILE & ~O_DIRECTORY) | (int)(set & 3);
        for (int i = 0; i < BITS; i++)
            if (set >> (i + 2) & 1)
                flags |= bits[i];
        for (int i = 0; i < 3; i++) {
            int fd = OPEN(in(argv[1], names[i]), flags, 0600);
            int got = outcome(fd < 0 ? -errno : fd, in(argv[1], "missing"));
            int native = outcome(raw_openat(AT_FDCWD, in(oracle, names[i]), flags, 0600), in(oracle, "missing"));
            if (got != native && wrong++ < 20)
                fprintf(stderr, "flags %#o on %s: %d (%#o), native %d (%#o)\n", (unsigned)flags, names[i], got,
                        (unsigned)got, native, (unsigned)native);
        }
    }
    for (int i = 0; i < 2; i++)
        CHECK(unlink(in(roots[i], "file")) == 0);
    CHECK(rmdir(oracle) == 0);
    CHECK(wrong == 0);
    return 0;
}
