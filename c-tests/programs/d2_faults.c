// D2, D4: a real fault removes the directory and then ends the program by the same signal, with the same core dump. The
// faulting instruction must be what the kernel sees in the end: sent again by hand, the signal would lose its address.
#include "victim.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#if __has_include(<linux/seccomp.h>)
#include <linux/filter.h>
#include <linux/seccomp.h>
#endif
#include <stddef.h>
#include <sys/time.h>

static void null_read(void) { (void)*(volatile int *)NULL; }
static void null_write(void) { *(volatile int *)NULL = 1; }
static void null_call(void) { ((void (*)(void))(*(volatile size_t *)&(size_t) { 0 }))(); }
static void far_read(void) { (void)*(volatile int *)0xdead000000000000; }
static void illegal(void) { __builtin_trap(); }

static void division(void)
{
#ifdef __x86_64__
    // An instruction, since a compiler may do as it likes with a division by zero; Arm does not trap on it.
    __asm__ volatile("xorl %%ecx, %%ecx\n\tmovl $1, %%eax\n\tcltd\n\tidivl %%ecx" ::: "eax", "ecx", "edx");
#else
    raise(SIGFPE);
#endif
}

static void breakpoint(void)
{
#ifdef __x86_64__
    __asm__ volatile("int3");
#else
    raise(SIGTRAP);
#endif
}

static void write_to_text(void) { *(volatile char *)(size_t)&breakpoint = 0; }

// A mapping whose file has become shorter: SIGBUS, as after a full disk or a truncated database.
static void truncated(void)
{
    int fd = open("map", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && ftruncate(fd, 8192) == 0);
    volatile char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED && ftruncate(fd, 0) == 0);
    (void)map[4096];
}

static void forbidden_call(void)
{
#ifdef SECCOMP_RET_TRAP
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpriority, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = { sizeof code / sizeof *code, code };
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
    syscall(SYS_getpriority, 0, 0);
#else
    // musl comes without the kernel's headers.
    raise(SIGSYS);
#endif
}

static void broken_pipe(void)
{
    int p[2];
    CHECK(pipe(p) == 0 && close(p[0]) == 0);
    CHECK(write(p[1], "x", 1) == 1);
}

static void file_too_large(void)
{
    struct rlimit none = { 0, RLIM_INFINITY };
    int fd = open("large", O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0 && setrlimit(RLIMIT_FSIZE, &none) == 0);
    CHECK(write(fd, "x", 1) == 1);
}

static void alarm_clock(void)
{
    struct itimerval soon = { { 0, 0 }, { 0, 1000 } };
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    for (;;)
        pause();
}

static void profiling_clock(void)
{
    struct itimerval soon = { { 0, 0 }, { 0, 1000 } };
    CHECK(setitimer(ITIMER_PROF, &soon, NULL) == 0);
    for (volatile int i = 0;; i++)
        ;
}

static void (*const faults[])(void) = {
    null_read, null_write, null_call, far_read, write_to_text, illegal, division, breakpoint, truncated, forbidden_call,
    broken_pipe, file_too_large, alarm_clock, profiling_clock, abort,
};

struct how {
    size_t fault;
    int tracks;
};

static void play(const void *arg)
{
    const struct how *how = arg;
    struct rlimit core;
    getrlimit(RLIMIT_CORE, &core);
    core.rlim_cur = core.rlim_max;
    setrlimit(RLIMIT_CORE, &core);
    CHECK(chdir("scratch") == 0);
    if (how->tracks) {
        char dir[] = "../d.XXXXXX";
        CHECK(mkdtemp(dir) == dir);
        put(in(dir, "content"), "x");
    }
    faults[how->fault]();
    _exit(99);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    CHECK(mkdir("scratch", 0755) == 0);
    for (size_t f = 0; f < sizeof faults / sizeof *faults; f++) {
        struct how with = { f, 1 }, without = { f, 0 };
        int status = watch(play, &with), native = watch(play, &without);
        CHECKF(WIFSIGNALED(native), "fault %zu: status %#x", f, native);
        CHECKF(status == native, "fault %zu: status %#x, not %#x", f, status, native);
        GONE(count_names(".", "") == 1, "fault %zu", f);
    }
    scrub("scratch");
    return 0;
}
