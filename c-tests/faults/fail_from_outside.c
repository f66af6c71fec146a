// fail_from_outside: fail_at for programs that somebody traces already, so that no tracer can look at their calls. A seccomp
// filter around all of them reports each call before it is made (seccomp_unotify(2)), and the answer is the errno, or "make
// it". What is not as with fail_at:
//   - The program's own calls are none of ours: it must be linked for addresses below 4 GiB (-static, without -pie), as nothing
//     of ours is. What a tracer makes it do lies above; that process is called "parasite" in lists, and so it is for mmap, which
//     a tracer lets it make in the place of its own call.
//   - A parasite's questions to its tracer are not reported, since of two answers the kernel takes one.
//   - Waking by futex(2) is not reported: it does not fail.
//   - ptrace(2) says ESRCH of nobody but the dead: the thread that it was about is killed first.
//   - close(2) that fails is not made; so it is better left out.
//
// x86-64. Static, so that no preload meant for the program comes in here.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "order.h"

#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif

// The directory of a question: tmpfile/plan.rs.
#define QUESTION (-0x746d7073)

enum { THREADS = 1024 };

static pid_t processes[PROCESSES]; // by their numbers
static int born;
static struct { pid_t pid; int process; } threads[THREADS];
static int thread_count;
static volatile sig_atomic_t is_late;

static void late(int sig)
{
    (void)sig;
    is_late = 1;
}

static void die(const char *what)
{
    fprintf(stderr, "fail_from_outside: %s: %s\n", what, strerror(errno));
    exit(125);
}

#include "../killer/listener.h"

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define LOAD_HIGH(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field) + 4)
#define IF(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(value), (skip), 0)
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(value), 0, (skip))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REPORT BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)

static int report_calls(void)
{
    struct sock_filter filter[] = {
        LOAD(arch), IF(AUDIT_ARCH_X86_64, 1), ALLOW,
        LOAD(nr), UNLESS(SYS_mmap, 1), REPORT,
        UNLESS(SYS_close, 5), LOAD(args[0]), IF(BEGIN, 2), IF(END, 1), UNLESS(AGAIN, 1), REPORT,
        LOAD_HIGH(instruction_pointer), UNLESS(0, 1), ALLOW,
        LOAD(nr), UNLESS(SYS_futex, 4),
        LOAD(args[1]), BPF_STMT(BPF_ALU | BPF_AND | BPF_K, FUTEX_CMD_MASK), UNLESS(FUTEX_WAKE, 1), ALLOW,
        LOAD(nr), UNLESS(SYS_openat, 3), LOAD(args[0]), UNLESS(QUESTION, 1), ALLOW,
        REPORT,
    };
    return listen_by(filter, sizeof filter / sizeof *filter);
}

// The listener is closed by exec, so the child waits until it has been taken.
static int start(char **command, int out, int err, pid_t *pid)
{
    atomic_int *handed = mmap(NULL, sizeof *handed, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (handed == MAP_FAILED)
        die("memory");
    *pid = fork();
    if (*pid == -1)
        die("fork");
    if (*pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (dup2(out, 1) != 1 || dup2(err, 2) != 2)
            _exit(125);
        int listener = report_calls();
        atomic_store(handed, listener < 0 ? -errno : listener);
        while (atomic_load(handed) > 0)
            sched_yield();
        execv(command[0], command);
        _exit(127);
    }
    int listener = take_listener(*pid, handed);
    atomic_store(handed, 0);
    munmap(handed, sizeof *handed);
    return listener;
}

static int number_of_process(pid_t process)
{
    for (int number = 1; number <= born; number++)
        if (processes[number] == process)
            return number;
    if (born == PROCESSES - 1)
        die("too many processes");
    processes[++born] = process;
    return born;
}

static int number_of(pid_t pid)
{
    for (int i = 0; i < thread_count; i++)
        if (threads[i].pid == pid)
            return threads[i].process;
    if (thread_count == THREADS)
        die("too many threads");
    int process = number_of_process(group_of(pid));
    threads[thread_count].pid = pid;
    threads[thread_count++].process = process;
    return process;
}

// In lists.
static const char *owner_of(const struct seccomp_notif *call)
{
    static char name[64];
    name_of((pid_t)call->pid, name, sizeof name);
    return strcmp(name, "tmpshim") == 0 ? name : "parasite";
}

static void answer(int listener)
{
    struct seccomp_notif call = { 0 };
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0)
        return; // its caller has been killed
    const pid_t pid = (pid_t)call.pid;
    const char *owner = order.process == 0 ? owner_of(&call) : NULL;
    int error = fault_for(pid, owner, number_of(pid), call.data.nr, (uint64_t *)call.data.args);
    if (error == ESRCH && call.data.nr == SYS_ptrace)
        kill((pid_t)call.data.args[1], SIGKILL);
    struct seccomp_notif_resp response = { .id = call.id, .error = -error };
    if (error == 0)
        response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

static void end_all(void)
{
    for (int number = 1; number <= born; number++)
        kill(processes[number], SIGKILL);
}

// Runs it once; the first process's status, or -1 if something hangs.
static int run(char **command, int begun, int out, int err, int children)
{
    int status, first_status = 0;
    struct signalfd_siginfo told;
    born = thread_count = 0;
    is_late = 0;
    is_begun = begun;
    pid_t first, ended;
    int listener = start(command, out, err, &first);
    // Since Linux 6.6; faster, and nothing else.
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
    number_of(first);
    struct pollfd news[] = { { .fd = listener, .events = POLLIN }, { .fd = children, .events = POLLIN } };
    for (;;) {
        while ((ended = waitpid(-1, &status, WNOHANG | __WALL)) > 0)
            if (ended == first)
                first_status = status;
        if (ended == -1 && errno == ECHILD)
            break;
        if (is_late) {
            end_all();
            alarm(1);
        }
        if (poll(news, 2, 1000) <= 0)
            continue;
        if (news[0].revents & POLLIN)
            answer(listener);
        // Without anybody left it hangs up for ever; the last end is told by the other.
        if (news[0].revents & POLLHUP)
            news[0].fd = -1;
        if (news[1].revents & POLLIN && read(children, &told, sizeof told) < 0)
            die("signals");
    }
    close(listener);
    return is_late ? -1 : first_status;
}

int main(int argc, char **argv)
{
    struct options options = options_of(argc, argv);
    // Whoever loses its parent is waited for as well.
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    struct sigaction act = { .sa_handler = late };
    sigaction(SIGALRM, &act, NULL);
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGCHLD);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    int children = signalfd(-1, &ends, SFD_CLOEXEC);
    if (children < 0)
        die("signalfd");
    while (next_order(0)) {
        int out = anew(options.out), err = anew(options.err);
        alarm(options.seconds);
        int status = run(options.command, options.is_begun, out, err, children);
        alarm(0);
        close(out);
        close(err);
        tell_end(status);
    }
    return 0;
}
