// launch REPORT SECONDS USER ERRNO program [argument…]
//
// Runs one cell's program and writes into REPORT how it ended, a line each:
//     exit N | signal N | timeout     the program itself
//     left PID NAME                   a process that was still there two seconds later, now killed
// USER is a user and group id to change to, or -1. ERRNO is the number with which open and openat answer O_TMPFILE, or 0.
//
// Static, so that no preload meant for the program comes in here. The launcher is a subreaper: whatever the program leaves
// behind, in whatever session, becomes its child.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "launch: %s: %s\n", what, strerror(errno));
    exit(125);
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define JUMP(test, value, yes, no) BPF_JUMP(BPF_JMP | (test) | BPF_K, (value), (yes), (no))
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, (value))
// The low half of an argument comes first on every little-endian machine.
#define ARGUMENT(n) LOAD(args[n])

// Refuses what a kernel with O_TMPFILE, on a filesystem without it, refuses: both bits, a writing access mode, no O_CREAT,
// no O_PATH. Everything else gets the kernel's own answer.
static void refuse_tmpfile(int number)
{
    struct sock_filter filter[] = {
        LOAD(nr),
        JUMP(BPF_JEQ, SYS_openat, 4, 0),
#ifdef SYS_open
        JUMP(BPF_JEQ, SYS_open, 1, 0),
#else
        JUMP(BPF_JA, 0, 0, 0),
#endif
        ANSWER(SECCOMP_RET_ALLOW),
        ARGUMENT(1),
        JUMP(BPF_JA, 1, 0, 0),
        ARGUMENT(2),
        JUMP(BPF_JSET, O_CREAT | O_PATH, 5, 0),
        JUMP(BPF_JSET, O_WRONLY | O_RDWR, 0, 4),
        JUMP(BPF_JSET, O_DIRECTORY, 0, 3),
        JUMP(BPF_JSET, O_TMPFILE & ~O_DIRECTORY, 0, 2),
        ANSWER(SECCOMP_RET_ERRNO | (unsigned)number),
        ANSWER(SECCOMP_RET_ALLOW),
        ANSWER(SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = sizeof filter / sizeof *filter, .filter = filter };
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        die("seccomp");
}

static void become(long user)
{
    // So that a supervisor need not promise it, and say so.
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        die("no_new_privs");
    if (setgroups(0, NULL) != 0 || setgid((gid_t)user) != 0 || setuid((uid_t)user) != 0)
        die("changing the user");
}

// Calls back for each child; reads them from the kernel, since the launcher did not start most of them.
static int children(void (*each)(pid_t pid, FILE *report), FILE *report)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    FILE *list = fopen(path, "re");
    if (list == NULL)
        die(path);
    int count = 0;
    for (int pid; fscanf(list, "%d", &pid) == 1; count++)
        if (each != NULL)
            each(pid, report);
    fclose(list);
    return count;
}

static void name(pid_t pid, FILE *report)
{
    char path[64], comm[64] = "?";
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        if (fgets(comm, sizeof comm, file) == NULL)
            strcpy(comm, "?");
        fclose(file);
        comm[strcspn(comm, "\n")] = '\0';
    }
    fprintf(report, "left %d %s\n", pid, comm);
}

static void end(pid_t pid, FILE *report)
{
    (void)report;
    kill(pid, SIGKILL);
}

// Killing a child makes its own children ours, so that a few rounds end them all.
static void end_everything(void)
{
    for (;;) {
        children(end, NULL);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD)
            return;
        usleep(1000);
    }
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

// Waits for a signal until the deadline; ends everything and leaves when the harness has died.
static void wait_until(double deadline, const sigset_t *signals)
{
    double left = deadline - now();
    if (left < 0)
        left = 0;
    struct timespec pause = { .tv_sec = (time_t)left, .tv_nsec = (long)((left - (double)(time_t)left) * 1e9) };
    if (sigtimedwait(signals, NULL, &pause) == SIGTERM) {
        end_everything();
        exit(124);
    }
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "launch: REPORT SECONDS USER ERRNO program [argument...]\n");
        return 125;
    }
    FILE *report = fopen(argv[1], "we");
    if (report == NULL)
        die(argv[1]);
    double seconds = atof(argv[2]);
    long user = atol(argv[3]);
    int refusal = atoi(argv[4]);

    sigset_t signals, before;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, &before);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_CHILD_SUBREAPER, 1);

    pid_t program = fork();
    if (program == -1)
        die("fork");
    if (program == 0) {
        setpgid(0, 0);
        sigprocmask(SIG_SETMASK, &before, NULL);
        // A shell starts what runs in the background with SIGINT and SIGQUIT ignored, and that is inherited.
        for (int sig = 1; sig < NSIG; sig++)
            signal(sig, SIG_DFL);
        // A filter needs privileges or no_new_privs; the second would change what the program may do.
        if (refusal != 0)
            refuse_tmpfile(refusal);
        if (user != -1)
            become(user);
        execv(argv[5], argv + 5);
        die(argv[5]);
    }

    double deadline = now() + seconds;
    int status = -1;
    while (status == -1) {
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0 && pid != program;)
            status = -1;
        if (status == -1 && now() >= deadline) {
            fprintf(report, "timeout\n");
            end_everything();
            return 0;
        }
        if (status == -1)
            wait_until(deadline, &signals);
    }
    if (WIFSIGNALED(status))
        fprintf(report, "signal %d\n", WTERMSIG(status));
    else
        fprintf(report, "exit %d\n", WEXITSTATUS(status));

    for (double grace = now() + 2; now() < grace && children(NULL, NULL) > 0;) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (children(NULL, NULL) > 0)
            wait_until(grace, &signals);
    }
    children(name, report);
    end_everything();
    return fclose(report) == 0 ? 0 : 125;
}
