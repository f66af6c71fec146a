// Forced in front of a C program that plays a Go one: its doors to the kernel lead through doors.go, and main is Go's.
#ifndef DOORS_H
#define DOORS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wunused-function"

extern int go_main(int (*program)(int, char **), int argc, char **argv);
extern unsigned long go_syscall(unsigned long number, unsigned long a, unsigned long b, unsigned long c, unsigned long d,
                                unsigned long e);

// In a forked child only the thread that called fork goes on, and with it no Go.
static pid_t door_go;

static long door_syscall(long number, ...)
{
    unsigned long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, unsigned long);
    va_end(list);
    switch (number) {
#ifdef SYS_open
    case SYS_open: case SYS_mkdir:
#endif
    case SYS_openat: case SYS_openat2: case SYS_linkat: case SYS_mkdirat:
        break;
    default:
        return syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    if (getpid() != door_go)
        return syscall(number, a[0], a[1], a[2], a[3], a[4]);
    int before = errno;
    unsigned long result = go_syscall((unsigned long)number, a[0], a[1], a[2], a[3], a[4]);
    errno = result > -4096ul ? -(int)result : before;
    return result > -4096ul ? -1 : (long)result;
}

static int door_openat(int directory, const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    return (int)door_syscall(SYS_openat, directory, path, flags, mode, 0, 0);
}

static int door_open(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    return door_openat(AT_FDCWD, path, flags, mode);
}

static int door_linkat(int from, const char *path, int to, const char *name, int flags)
{
    return (int)door_syscall(SYS_linkat, from, path, to, name, flags, 0);
}

static int door_mkdirat(int directory, const char *path, mode_t mode)
{
    return (int)door_syscall(SYS_mkdirat, directory, path, mode, 0, 0, 0);
}

static int door_mkdir(const char *path, mode_t mode)
{
    return door_mkdirat(AT_FDCWD, path, mode);
}

static int program_main(int argc, char **argv);

int main(int argc, char **argv)
{
    door_go = getpid();
    return go_main(program_main, argc, argv);
}

#define open door_open
#define openat door_openat
#define open64 door_open
#define openat64 door_openat
#define linkat door_linkat
#define mkdir door_mkdir
#define mkdirat door_mkdirat
#define syscall door_syscall
#define main program_main
#endif
