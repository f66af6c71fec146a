// fail_at: runs the program once for each order on standard input (order.h), with one system call failing that the order
// names: the call is not made, and the program gets the errno. Only close(2) is made all the same, as the kernel does it:
// whatever it says, the descriptor is gone. With -m nobody's calls are looked at until SIGCONT announces the first mark.
//
// x86-64. Static, so that no preload meant for the program comes in here.
#define _GNU_SOURCE
#include "../killer/traced.h"
#include "order.h"

#include <sys/prctl.h>
#include <sys/user.h>

enum { THREADS = 1024 };

struct thread {
    pid_t pid;
    int process; // its number; 0: not known yet
    int error;   // what its call is to fail with
};

static struct thread threads[THREADS];
static int born, is_announced;
static volatile sig_atomic_t is_late;

static void late(int sig)
{
    (void)sig;
    is_late = 1;
}

static struct thread *thread_of(pid_t pid)
{
    struct thread *unused = NULL;
    for (struct thread *thread = threads; thread < threads + THREADS; thread++) {
        if (thread->pid == pid)
            return thread;
        if (thread->pid == 0 && unused == NULL)
            unused = thread;
    }
    if (unused == NULL)
        die("too many threads");
    *unused = (struct thread){ .pid = pid };
    return unused;
}

static void number(struct thread *thread)
{
    if (thread->process != 0)
        return;
    pid_t group = group_of(thread->pid);
    if (group != thread->pid)
        number(thread_of(group));
    thread->process = group != thread->pid ? thread_of(group)->process : ++born;
}

static void registers(int request, pid_t pid, struct user_regs_struct *all)
{
    if (ptrace(request, pid, NULL, all) != 0 && errno != ESRCH)
        die("registers");
}

// At a stop of a call: lets it fail, or has let it.
static void at_call(struct thread *thread)
{
    struct __ptrace_syscall_info info;
    struct user_regs_struct all = { 0 };
    if (is_before(thread->pid, &info)) {
        thread->error = fault_for(thread->pid, NULL, thread->process, (long)info.entry.nr, (uint64_t *)info.entry.args);
        if (thread->error != 0 && info.entry.nr != SYS_close) {
            registers(PTRACE_GETREGS, thread->pid, &all);
            all.orig_rax = (unsigned long long)-1;
            registers(PTRACE_SETREGS, thread->pid, &all);
        }
    } else if (thread->error != 0) {
        registers(PTRACE_GETREGS, thread->pid, &all);
        all.rax = (unsigned long long)-thread->error;
        registers(PTRACE_SETREGS, thread->pid, &all);
        thread->error = 0;
    }
}

// How to let it go on: nobody looks at its calls while there is nothing to do.
static int onward(const struct thread *thread)
{
    int is_idle = !is_announced || (is_done && (rule_count == 0 || is_over)) || (is_over && !order.ever);
    return is_idle && thread->error == 0 ? PTRACE_CONT : PTRACE_SYSCALL;
}

// From here on, everybody's calls are looked at.
static void look_at_all(void)
{
    is_announced = 1;
    for (struct thread *thread = threads; thread < threads + THREADS; thread++)
        if (thread->pid != 0)
            ptrace(PTRACE_INTERRUPT, thread->pid, NULL, NULL);
}

static void end_all(void)
{
    for (struct thread *thread = threads; thread < threads + THREADS; thread++)
        if (thread->pid != 0)
            kill(thread->pid, SIGKILL);
}

// Runs it once; the first process's status, or -1 if something hangs.
static int run(char **command, int begun, int out, int err)
{
    memset(threads, 0, sizeof threads);
    born = 0;
    is_announced = begun;
    is_late = 0;
    int status, first_status = 0, running = 0;
    pid_t first = start(command, out, err);
    number(thread_of(first));
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid == -1 && errno == EINTR && is_late) {
            end_all();
            continue;
        }
        if (pid == -1)
            break;
        if (!WIFSTOPPED(status)) {
            thread_of(pid)->pid = 0;
            if (pid == first)
                first_status = status;
            continue;
        }
        struct thread *thread = thread_of(pid);
        int sig = WSTOPSIG(status), event = status >> 16;
        number(thread);
        if (sig == (SIGTRAP | CALLS)) {
            if (running)
                at_call(thread);
            resume(onward(thread), pid, 0);
        } else if (event == PTRACE_EVENT_STOP) {
            resume(sig == SIGTRAP ? onward(thread) : PTRACE_LISTEN, pid, 0);
        } else {
            if (event == PTRACE_EVENT_EXEC && !running) {
                running = 1;
                is_begun = begun;
            }
            unsigned long child;
            if ((event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) &&
                ptrace(PTRACE_GETEVENTMSG, pid, NULL, &child) == 0)
                number(thread_of((pid_t)child));
            if (event == 0 && sig == SIGCONT && !is_announced)
                look_at_all();
            resume(onward(thread), pid, event ? 0 : sig);
        }
    }
    if (errno != ECHILD)
        die("wait");
    return is_late ? -1 : first_status;
}

int main(int argc, char **argv)
{
    tracer_name = "fail_at";
    struct options options = options_of(argc, argv);
    // Whoever loses its parent is waited for as well.
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    struct sigaction act = { .sa_handler = late };
    sigaction(SIGALRM, &act, NULL);
    while (next_order(0)) {
        int out = anew(options.out), err = anew(options.err);
        alarm(options.seconds);
        int status = run(options.command, options.is_begun, out, err);
        alarm(0);
        close(out);
        close(err);
        tell_end(status);
    }
    return 0;
}
