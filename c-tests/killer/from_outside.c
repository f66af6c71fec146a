// from_outside [-m] [-q] [-t] [-d] N program [argument...]
// from_outside -l NAME program [argument...]
//
// For programs that somebody traces already, so that no tracer can look at their calls: a seccomp filter around all of them
// reports each call before it is made, and lets it be made. The first form does what kill_at does, with the same words,
// options and exit statuses, but for one stop a call:
//     -m   count only what comes after the marker, close(-424242)
//     -t   kill the process that has made the marker, whichever makes the call, and let nobody go on before it is gone
//     -q   leave out calls that change nothing which anybody else can see
//     -d   leave out mkdir, as a tracer that is to be told of it needs
// The second lists the calls of processes of that name on file 3, a line each: number, and the path if it has one. What is
// not reported is what a tracer of ours is told of, by the same filter, since of two answers the kernel takes one: opens with
// O_TMPFILE, openat2, linkat of an open file, ptrace.
//
// Static, so that no preload meant for the program comes in here.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARKER (-424242)

static void die(const char *what)
{
    fprintf(stderr, "from_outside: %s: %s\n", what, strerror(errno));
    exit(125);
}

#include "listener.h"

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define UNLESS(test, value, skip) BPF_JUMP(BPF_JMP | (test) | BPF_K, (value), 0, (skip))
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, (value))

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#else
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

static int report_calls(int without_mkdir)
{
    const unsigned mkdirat = without_mkdir ? SYS_mkdirat : ~0u, tmpfile = O_TMPFILE | O_PATH;
#ifdef SYS_open
    const unsigned open = SYS_open, mkdir = without_mkdir ? SYS_mkdir : ~0u;
#else
    const unsigned open = ~0u, mkdir = ~0u;
#endif
    struct sock_filter filter[] = {
        LOAD(arch),
        UNLESS(BPF_JEQ, ARCHITECTURE, 18),
        LOAD(nr),
        UNLESS(BPF_JEQ, open, 2),
        LOAD(args[1]),
        BPF_STMT(BPF_JMP | BPF_JA, 2),
        UNLESS(BPF_JEQ, SYS_openat, 5),
        LOAD(args[2]),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, tmpfile),
        UNLESS(BPF_JEQ, O_TMPFILE, 1),
        ANSWER(SECCOMP_RET_ALLOW),
        ANSWER(SECCOMP_RET_USER_NOTIF),
        UNLESS(BPF_JEQ, SYS_linkat, 3),
        LOAD(args[4]),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, AT_EMPTY_PATH | AT_SYMLINK_FOLLOW, 5, 0),
        ANSWER(SECCOMP_RET_USER_NOTIF),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, mkdir, 1, 0),
        UNLESS(BPF_JEQ, mkdirat, 1),
        ANSWER(SECCOMP_RET_ALLOW),
        ANSWER(SECCOMP_RET_USER_NOTIF),
    };
    return listen_by(filter, sizeof filter / sizeof *filter);
}

// The child can make no call to hand its listener over: each would wait for whoever has it.
static int start(char **command, int without_mkdir, pid_t *pid)
{
    atomic_int *handed = mmap(NULL, sizeof *handed, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (handed == MAP_FAILED)
        die("memory");
    *pid = fork();
    if (*pid == -1)
        die("fork");
    if (*pid == 0) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
            die("no_new_privs");
        int listener = report_calls(without_mkdir);
        atomic_store(handed, listener < 0 ? -errno : listener);
        if (listener < 0)
            _exit(125);
        execv(command[0], command);
        _exit(127);
    }
    return take_listener(*pid, handed);
}

static void first_line(pid_t pid, const char *file, char *line, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, line, size - 1) : 0;
    line[length > 0 ? length : 0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    close(fd);
}

// Whether a call changes nothing outside of its process.
static int is_quiet(int number)
{
    static const long quiet[] = {
        SYS_read,         SYS_pread64,        SYS_lseek,      SYS_fstat,   SYS_newfstatat,      SYS_statx,
        SYS_readlinkat,   SYS_getdents64,     SYS_getrandom,  SYS_brk,     SYS_mprotect,        SYS_madvise,
        SYS_sigaltstack,  SYS_rt_sigprocmask, SYS_gettid,     SYS_getuid,  SYS_geteuid,         SYS_getgid,
        SYS_getegid,      SYS_prlimit64,      SYS_faccessat,  SYS_futex,   SYS_set_tid_address, SYS_set_robust_list,
        SYS_clock_gettime, SYS_rseq,          SYS_getpid,     SYS_rt_sigaction,
#ifdef SYS_readlink
        SYS_readlink,     SYS_access,         SYS_arch_prctl, SYS_stat,    SYS_lstat,           SYS_poll,
#endif
    };
    for (size_t i = 0; i < sizeof quiet / sizeof *quiet; i++)
        if (quiet[i] == number)
            return 1;
    return 0;
}

// Which argument is a path; -1: none.
static int path_of(int number)
{
    switch (number) {
    case SYS_openat: case SYS_newfstatat: case SYS_readlinkat: case SYS_unlinkat: case SYS_mkdirat: case SYS_statx:
        return 1;
    case SYS_execve:
        return 0;
    default:
        return -1;
    }
}

static void list(FILE *out, const struct seccomp_notif *call)
{
    char path[2 * 4096 + 1] = "";
    int argument = path_of(call->data.nr);
    if (argument >= 0) {
        // Page by page: what lies behind the path's last page may not be there, and the read ends before it.
        const uintptr_t from = (uintptr_t)call->data.args[argument], edge = (from | 4095) + 1;
        struct iovec here = { path, sizeof path - 1 };
        struct iovec there[] = { { (void *)from, edge - from }, { (void *)edge, 4096 } };
        if (process_vm_readv((pid_t)call->pid, &here, 1, there, 2, 0) < 0)
            path[0] = '\0';
    }
    fprintf(out, "%d%s%s\n", call->data.nr, argument >= 0 ? " " : "", path);
}

static int has_ended(pid_t pid)
{
    char line[512];
    first_line(pid, "stat", line, sizeof line);
    const char *state = strrchr(line, ')');
    return state == NULL || state[2] == 'Z' || state[2] == 'X';
}

int main(int argc, char **argv)
{
    int marks = 0, leaves_quiet = 0, has_target = 0, without_mkdir = 0, option;
    const char *listed = NULL;
    while ((option = getopt(argc, argv, "+mqtdl:")) != -1)
        switch (option) {
        case 'm': marks = 1; break;
        case 'q': leaves_quiet = 1; break;
        case 't': has_target = 1; break;
        case 'd': without_mkdir = 1; break;
        case 'l': listed = optarg; break;
        default: return 125;
        }
    long at = listed || optind >= argc ? 0 : atol(argv[optind++]), reached = 0;
    if (optind >= argc || (!listed && at < 1)) {
        fprintf(stderr, "from_outside [-m] [-q] [-t] [-d] N program [argument...], or -l NAME program [argument...]\n");
        return 125;
    }
    FILE *out = listed ? fdopen(3, "w") : NULL;
    if (listed && (out == NULL || fcntl(3, F_SETFD, FD_CLOEXEC) != 0))
        die("file 3");
    signal(SIGALRM, SIG_DFL);
    alarm(30);
    pid_t first, marked = 0;
    int listener = start(argv + optind, without_mkdir, &first), killed = 0;
    struct pollfd wait = { .fd = listener, .events = POLLIN };
    while (poll(&wait, 1, -1) == 1 && !(wait.revents & POLLHUP)) {
        struct seccomp_notif call = { 0 };
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0)
            continue; // its caller has been killed
        pid_t pid = (pid_t)call.pid;
        char name[64];
        first_line(pid, "comm", name, sizeof name);
        if (listed && strcmp(name, listed) == 0)
            list(out, &call);
        if (call.data.nr == SYS_close && (int)call.data.args[0] == MARKER)
            marked = pid;
        else if (!listed && !killed && (marked || !marks) && !(leaves_quiet && is_quiet(call.data.nr)) && ++reached == at) {
            pid_t victim = has_target ? marked : pid;
            printf("killed before %d of %s\n", call.data.nr, name);
            killed = 1;
            if (kill(victim, SIGKILL) != 0 && errno != ESRCH)
                die("kill");
            while (!has_ended(victim))
                sched_yield();
        }
        struct seccomp_notif_resp answer = { .id = call.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
    int status;
    if (waitpid(first, &status, 0) != first)
        die("wait");
    if (listed)
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (killed)
        return 0;
    if (WIFSIGNALED(status))
        printf("ended by signal %d after %ld stops\n", WTERMSIG(status), reached);
    else
        printf("ended with status %d after %ld stops\n", WEXITSTATUS(status), reached);
    return 3;
}
