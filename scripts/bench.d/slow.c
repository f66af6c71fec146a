// Loaded into bindfs: creating a file takes two milliseconds, as on a filesystem that asks a server far away.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/types.h>
#include <time.h>

int open64(const char *path, int flags, ...)
{
    const struct timespec delay = { 0, 2000000 };
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
        nanosleep(&delay, NULL);
    }
    int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    return next(path, flags, mode);
}
