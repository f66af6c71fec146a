// old_kernel program [argument...]
//
// Runs the program as on Linux 4.18, which RHEL 8 has, as far as a seccomp filter can make that: no listener for
// notifications, no PTRACE_GET_SYSCALL_INFO, and none of the system calls that came later, such as clone3, openat2 and
// pidfd_open.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define UNLESS(test, value, skip) BPF_JUMP(BPF_JMP | (test) | BPF_K, (value), 0, (skip))
#define ERRNO(number) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (number))

// Since Linux 5.1 all architectures give the same numbers to new calls.
enum { FIRST_NEW = 424, FIRST_NEW_OF_I386 = 393 };

int main(int argc, char **argv)
{
    struct sock_filter filter[] = {
        LOAD(arch),
        UNLESS(BPF_JEQ, AUDIT_ARCH_I386, 3),
        LOAD(nr),
        UNLESS(BPF_JGE, FIRST_NEW_OF_I386, 12),
        ERRNO(ENOSYS),
        LOAD(nr),
        UNLESS(BPF_JGE, FIRST_NEW, 1),
        ERRNO(ENOSYS),
        UNLESS(BPF_JEQ, SYS_seccomp, 3),
        LOAD(args[1]),
        UNLESS(BPF_JSET, SECCOMP_FILTER_FLAG_NEW_LISTENER, 5),
        ERRNO(EINVAL),
        UNLESS(BPF_JEQ, SYS_ptrace, 3),
        LOAD(args[0]),
        UNLESS(BPF_JEQ, PTRACE_GET_SYSCALL_INFO, 1),
        ERRNO(EIO),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = sizeof filter / sizeof *filter, .filter = filter };
    if (argc < 2) {
        fprintf(stderr, "old_kernel program [argument...]\n");
        return 125;
    }
    int installed = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
    // Who is not privileged has to promise it.
    if (installed != 0 && errno == EACCES && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        installed = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
    if (installed != 0) {
        fprintf(stderr, "old_kernel: seccomp: %s\n", strerror(errno));
        return 125;
    }
    execv(argv[1], argv + 1);
    fprintf(stderr, "old_kernel: %s: %s\n", argv[1], strerror(errno));
    return 125;
}
