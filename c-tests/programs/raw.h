// System calls that no preloaded library can see: the oracle that a result is compared with. Negative results are errnos.
#ifndef RAW_H
#define RAW_H

#include "check.h"

#if defined(__x86_64__)
static inline long raw_syscall(long number, long a, long b, long c, long d)
{
    long result;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
static inline long raw_syscall(long number, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
#else
#error "no raw system call for this architecture"
#endif

static inline int raw_openat(int dirfd, const char *path, int flags, mode_t mode)
{
    return (int)raw_syscall(SYS_openat, dirfd, (long)path, flags, mode);
}

#endif
