// T1: O_TMPFILE works through every door of libc and through syscall(2), with the mode that was asked for. Doors that this
// libc does not have are left out.
#include "check.h"
#include <dlfcn.h>

// The layout that openat2(2) promises; not every libc has a header for it.
struct how {
    uint64_t flags, mode, resolve;
};

typedef int open_door(const char *, int, ...);
typedef int openat_door(int, const char *, int, ...);
typedef long openat2_door(int, const char *, const struct how *, size_t);

static void is_our_file(const char *door, int fd)
{
    struct stat status;
    char back[4];
    if (fd < 0)
        fprintf(stderr, "%s:\n", door);
    CHECK(fd >= 0);
    CHECK(fstat(fd, &status) == 0 && S_ISREG(status.st_mode));
    CHECK(mode_is(fd, 0640));
    CHECK(write(fd, "abc", 3) == 3 && pread(fd, back, 4, 0) == 3 && memcmp(back, "abc", 3) == 0);
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHECK(close(fd) == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    const char *directory = argv[1];
    const int flags = O_RDWR | O_TMPFILE | O_CLOEXEC;
    const struct how how = { .flags = (unsigned)flags, .mode = 0640 };
    int dirfd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(dirfd >= 0);
    umask(0);

    is_our_file("open, linked", open(directory, flags, 0640));
    is_our_file("openat, linked", openat(dirfd, ".", flags, 0640));

    const char *const opens[] = { "open", "open64", "__open", "__open64" };
    for (size_t i = 0; i < sizeof opens / sizeof *opens; i++) {
        open_door *door = (open_door *)dlsym(RTLD_DEFAULT, opens[i]);
        if (door != NULL)
            is_our_file(opens[i], door(directory, flags, 0640));
    }
    const char *const openats[] = { "openat", "openat64" };
    for (size_t i = 0; i < sizeof openats / sizeof *openats; i++) {
        openat_door *door = (openat_door *)dlsym(RTLD_DEFAULT, openats[i]);
        if (door == NULL)
            continue;
        is_our_file(openats[i], door(AT_FDCWD, directory, flags, 0640));
        is_our_file(openats[i], door(dirfd, ".", flags, 0640));
        is_our_file(openats[i], door(-1, directory, flags, 0640));
    }
    openat2_door *openat2 = (openat2_door *)dlsym(RTLD_DEFAULT, "openat2");
    if (openat2 != NULL)
        is_our_file("openat2", (int)openat2(dirfd, ".", &how, sizeof how));

#ifdef SYS_open
    is_our_file("SYS_open", (int)syscall(SYS_open, directory, flags, 0640));
#endif
    is_our_file("SYS_openat", (int)syscall(SYS_openat, dirfd, ".", flags, 0640));
    is_our_file("SYS_openat2", (int)syscall(SYS_openat2, dirfd, ".", &how, sizeof how));
    return 0;
}
