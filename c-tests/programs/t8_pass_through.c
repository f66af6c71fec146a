// T8: every other open is the kernel's own: for each combination of flags without O_TMPFILE, on each kind of path, the
// result is that of the bare system call.
#include "raw.h"

static const int bits[] = { O_CREAT,    O_EXCL,    O_TRUNC, O_APPEND,  O_NONBLOCK,  O_DSYNC,
                            O_NOFOLLOW, O_NOATIME, O_PATH,  O_CLOEXEC, O_DIRECTORY, O_NOCTTY };
enum { BITS = sizeof bits / sizeof *bits };

// The paths as they are before every open; a negative errno or the descriptor's flags.
static int outcome(int result)
{
    if (result < 0)
        return result;
    unlink("missing");
    unlink("nowhere");
    int flags = fcntl(result, F_GETFL) | (fcntl(result, F_GETFD) & FD_CLOEXEC ? O_CLOEXEC : 0);
    CHECK(close(result) == 0);
    return flags;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2 && chdir(argv[1]) == 0);
    static const char *const names[] = { ".", "file", "missing", "link", "dangling" };
    CHECK(close(open("file", O_WRONLY | O_CREAT | O_EXCL, 0600)) == 0);
    CHECK(symlink("file", "link") == 0 && symlink("nowhere", "dangling") == 0);
    int wrong = 0;
    for (unsigned set = 0; set < 4u << BITS; set++) {
        int flags = (int)(set & 3);
        for (int i = 0; i < BITS; i++)
            if (set >> (i + 2) & 1)
                flags |= bits[i];
        for (int i = 0; i < 5; i++) {
            int fd = OPEN(names[i], flags, 0600);
            int got = outcome(fd < 0 ? -errno : fd);
            int native = outcome(raw_openat(AT_FDCWD, names[i], flags, 0600));
            if (got != native && wrong++ < 20)
                fprintf(stderr, "flags %#o on %s: %d, native %d\n", (unsigned)flags, names[i], got, native);
        }
    }
    CHECK(unlink("file") == 0 && unlink("link") == 0 && unlink("dangling") == 0 && wrong == 0);
    return 0;
}
