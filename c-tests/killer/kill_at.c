// kill_at [-m] [-c] [-q] [-t] N program [argument...]
//
// Runs the program and sends SIGKILL to the process, among it and all that it starts, that comes to the N-th stop at a
// system call. A call has two stops, before it and after it; one that is killed before is not made. The other processes
// run on, and kill_at waits for all of them. Counting N up until the program ends by itself tries every instant that the
// kernel can see.
//     -m   count only what comes after the marker, close(-424242)
//     -c   count only in processes other than the first
//     -t   kill the process that has made the marker, whichever comes to the stop, and let nobody go on before it is gone
//     -q   leave out what cannot make a difference: the stop after a call that changes nothing which anybody else can
//          see, and both of rt_sigaction and getpid, which some programs call for every signal
// Says in one line what happened, and exits with
//     0    killed; the line names the call as /proc/PID/syscall does, by number and arguments, and the program
//     3    all processes ended before the N-th stop; the line says how the first one did, and how many stops there were
//     125  it could not be done
// Whatever is still running after half a minute is killed with kill_at, which then ends by SIGALRM.
//
// Static, so that no preload meant for the program comes in here.
#define _GNU_SOURCE
#include "traced.h"

// The calls whose stop afterwards is not counted either, by process. Those that live at once have numbers close together.
static pid_t inside[4096];

static pid_t *inside_of(pid_t pid)
{
    return &inside[(size_t)pid % (sizeof inside / sizeof *inside)];
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

// Says where the process is stopped, and kills `victim`: itself, or another one, which is gone afterwards.
static void kill_here(pid_t pid, pid_t victim)
{
    struct __ptrace_syscall_info info;
    char call[256], name[32];
    first_line(pid, "syscall", call, sizeof call);
    first_line(pid, "comm", name, sizeof name);
    printf("killed %s %s of %s\n", is_before(pid, &info) ? "before" : "after", call, name);
    fflush(stdout);
    if (kill(victim, SIGKILL) != 0 && errno != ESRCH)
        die("kill");
    for (int status = victim == pid ? 0 : 0x7f; WIFSTOPPED(status);)
        if (waitpid(victim, &status, __WALL) == -1) {
            if (errno != ECHILD)
                die("wait for the killed process");
            break; // it had ended before
        }
}

// Whether a call changes nothing outside of its process. What the process writes to shared memory, it writes between calls.
static int is_quiet(unsigned long number)
{
    static const long quiet[] = {
        SYS_read,         SYS_pread64,        SYS_lseek,      SYS_fstat,   SYS_newfstatat,      SYS_statx,
        SYS_readlinkat,   SYS_getdents64,     SYS_getrandom,  SYS_brk,     SYS_mprotect,        SYS_madvise,
        SYS_sigaltstack,  SYS_rt_sigprocmask, SYS_gettid,     SYS_getuid,  SYS_geteuid,         SYS_getgid,
        SYS_getegid,      SYS_prlimit64,      SYS_faccessat,  SYS_futex,   SYS_set_tid_address, SYS_set_robust_list,
        SYS_clock_gettime, SYS_rseq,
#ifdef SYS_readlink
        SYS_readlink,     SYS_access,         SYS_arch_prctl, SYS_stat,    SYS_lstat,           SYS_poll,
#endif
    };
    for (size_t i = 0; i < sizeof quiet / sizeof *quiet; i++)
        if ((unsigned long)quiet[i] == number)
            return 1;
    return 0;
}

struct count {
    long at, reached;
    int started, without_first, without_quiet, target;
    pid_t first, marked;
};

// Whether this stop is the one.
static int count_stop(struct count *count, pid_t pid)
{
    struct __ptrace_syscall_info info;
    if (*inside_of(pid) == pid) {
        *inside_of(pid) = 0;
        return 0;
    }
    int before = is_before(pid, &info);
    if (count->target && count->started && !count->marked)
        return 0;
    if (!count->started) {
        count->started = before && info.entry.nr == SYS_close && (int)info.entry.args[0] == MARKER;
        *inside_of(pid) = count->started ? pid : 0;
        count->marked = pid;
        return 0;
    }
    if (count->without_first && pid == count->first)
        return 0;
    if (count->without_quiet && before) {
        int is_frequent = info.entry.nr == SYS_rt_sigaction || info.entry.nr == SYS_getpid;
        if (is_frequent || is_quiet(info.entry.nr))
            *inside_of(pid) = pid;
        if (is_frequent)
            return 0;
    }
    return ++count->reached == count->at;
}

int main(int argc, char **argv)
{
    tracer_name = "kill_at";
    struct count count = { .started = 1 };
    int option;
    while ((option = getopt(argc, argv, "+mcqt")) != -1)
        if (option == 'm')
            count.started = 0;
        else if (option == 'c')
            count.without_first = 1;
        else if (option == 'q')
            count.without_quiet = 1;
        else if (option == 't')
            count.target = 1;
        else
            return 125;
    count.at = argc - optind < 2 ? 0 : atol(argv[optind]);
    if (count.at < 1) {
        fprintf(stderr, "kill_at [-m] [-c] [-q] [-t] N program [argument...]\n");
        return 125;
    }
    signal(SIGALRM, SIG_DFL);
    alarm(30);
    pid_t first = count.first = start(argv + optind + 1, -1, -1);

    // Before its own exec, the first process is still kill_at.
    int status, first_status = 0, running = 0, killed = 0;
    for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0;) {
        if (!WIFSTOPPED(status)) {
            if (pid == first)
                first_status = status;
            if (pid == count.marked)
                count.marked = 0;
            continue;
        }
        int sig = WSTOPSIG(status), event = status >> 16;
        if (sig == (SIGTRAP | CALLS)) {
            if (running && count_stop(&count, pid)) {
                kill_here(pid, count.target ? count.marked : pid);
                killed = 1;
            }
            resume(PTRACE_SYSCALL, pid, 0);
        } else if (event == PTRACE_EVENT_STOP) {
            // Either new, or stopped by one of the stopping signals: then it stays so until SIGCONT.
            resume(sig == SIGTRAP ? PTRACE_SYSCALL : PTRACE_LISTEN, pid, 0);
        } else {
            running |= event == PTRACE_EVENT_EXEC;
            resume(PTRACE_SYSCALL, pid, event ? 0 : sig);
        }
    }
    if (errno != ECHILD)
        die("wait");
    if (killed)
        return 0;
    if (WIFSIGNALED(first_status))
        printf("ended by signal %d after %ld stops\n", WTERMSIG(first_status), count.reached);
    else
        printf("ended with status %d after %ld stops\n", WEXITSTATUS(first_status), count.reached);
    return 3;
}
