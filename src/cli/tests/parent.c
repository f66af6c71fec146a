/* What `tmpshim run` runs in parent.rs, and what starts it there in unusual circumstances. Signals are the kernel's own, 64
 * of them: libc keeps two to itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIGNALS 64

struct kernel_action {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

extern char **environ;

static void fail(const char *what)
{
    fprintf(stderr, "parent.c: %s: %s\n", what, strerror(errno));
    _exit(99);
}

static void mask(uint64_t set)
{
    if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &set, NULL, sizeof set) != 0)
        fail("rt_sigprocmask");
}

static void dispose(int number, void *how)
{
    struct kernel_action action = { .handler = how };
    if (syscall(SYS_rt_sigaction, number, &action, NULL, sizeof action.mask) != 0 && number != SIGKILL && number != SIGSTOP)
        fail("rt_sigaction");
}

/* Takes the default action of a signal. */
static void suffer(int number, int with_core)
{
    struct rlimit core;
    getrlimit(RLIMIT_CORE, &core);
    core.rlim_cur = with_core ? core.rlim_max : 0;
    setrlimit(RLIMIT_CORE, &core);
    dispose(number, SIG_DFL);
    mask(0);
    kill(getpid(), number);
}

/* Says which signals come in, one line each, until standard input ends. */
static int count(void)
{
    uint64_t all = ~0ull;
    struct signalfd_siginfo info;
    mask(all);
    int signals = syscall(SYS_signalfd4, -1, &all, sizeof all, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0)
        fail("signalfd");
    printf("ready %d\n", getpid());
    struct pollfd watched[] = { { signals, POLLIN, 0 }, { 0, POLLIN, 0 } };
    for (;;) {
        poll(watched, 2, -1);
        while (read(signals, &info, sizeof info) == sizeof info)
            printf("%u\n", info.ssi_signo);
        if (watched[1].revents)
            break;
    }
    puts("end");
    return 0;
}

/* Makes orphans that end, and says who they were when they have. */
static void orphans(int number)
{
    int pipes[2];
    if (pipe(pipes) != 0)
        fail("pipe");
    for (int left = number; left > 0; left--) {
        int child = fork();
        if (child == 0) {
            int parent = getpid();
            if (fork() == 0) {
                int self = getpid();
                while (getppid() == parent)
                    sched_yield();
                if (write(pipes[1], &self, sizeof self) != sizeof self)
                    _exit(1);
            }
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    close(pipes[1]);
    int orphan;
    printf("orphans");
    while (read(pipes[0], &orphan, sizeof orphan) == sizeof orphan)
        printf(" %d", orphan);
    close(pipes[0]);
    puts("");
}

/* Does what standard input says, line by line. */
static int serve(void)
{
    char line[64];
    int one, two;
    printf("ready %d\n", getpid());
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "exit %d", &one) == 1)
            return one;
        if (sscanf(line, "signal %d", &one) == 1) {
            suffer(one, 0);
            puts("still here");
        } else if (sscanf(line, "add %d %d", &one, &two) == 2) {
            printf("sum %d\n", one + two);
        } else if (sscanf(line, "orphans %d", &one) == 1) {
            orphans(one);
        } else if (sscanf(line, "daemon %d", &one) == 1) {
            /* What follows is for the daemon. */
            if (fork() != 0)
                _exit(one);
            setsid();
            printf("daemon %d\n", getpid());
        } else if (strcmp(line, "mute\n") == 0) {
            freopen("/dev/null", "w", stdout);
            dup2(1, 2);
        } else if (strcmp(line, "supervised\n") == 0) {
            /* A question that only a supervisor answers so. */
            syscall(SYS_openat, -0x746d7073, NULL, O_RDWR | O_TMPFILE, 0);
            puts(errno == EALREADY ? "yes" : "no");
        } else {
            printf("what is %s", line);
        }
    }
    return 0;
}

static void print_escaped(const char *what, const char *text)
{
    printf("%s ", what);
    for (; *text; text++)
        printf(*text > ' ' && *text <= '~' && *text != '\\' ? "%c" : "\\x%02x", (unsigned char)*text);
    puts("");
}

static void print_file(const char *path, const char *wanted[])
{
    char line[4096];
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    while (fgets(line, sizeof line, file)) {
        const char **prefix = wanted;
        while (prefix && *prefix && strncmp(line, *prefix, strlen(*prefix)) != 0)
            prefix++;
        if (!prefix || *prefix)
            printf("%s: %s", path, line);
    }
    fclose(file);
}

/* Everything that a program inherits. */
static int state(int number, char **arguments)
{
    static const char *of_status[] = {
        "Umask", "Uid", "Gid", "Groups", "NoNewPrivs", "Cap", "Cpus_allowed:", "Mems_allowed:", "SigB", "SigI", "SigC", "SigP", "ShdP", "THP", NULL,
    };
    static const char *namespaces[] = { "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts" };
    char text[4096], path[64];
    for (int index = 0; index < number; index++)
        print_escaped("argument", arguments[index]);
    for (char **entry = environ; *entry; entry++)
        print_escaped("environment", *entry);
    print_file("/proc/self/status", of_status);
    print_file("/proc/self/oom_score_adj", NULL);
    print_file("/proc/self/coredump_filter", NULL);
    print_file("/proc/self/cgroup", NULL);
    for (size_t index = 0; index < sizeof namespaces / sizeof *namespaces; index++) {
        snprintf(path, sizeof path, "/proc/self/ns/%s", namespaces[index]);
        ssize_t length = readlink(path, text, sizeof text);
        printf("%.*s\n", (int)(length < 0 ? 0 : length), text);
    }
    for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
        struct rlimit limit;
        getrlimit(resource, &limit);
        printf("limit %d: %lu %lu\n", resource, limit.rlim_cur, limit.rlim_max);
    }
    if (!getcwd(text, sizeof text))
        fail("getcwd");
    print_escaped("directory", text);
    printf("nice %d, scheduler %d, input and output %ld, slack %d, personality %x, dumpable %d\n", getpriority(PRIO_PROCESS, 0),
           sched_getscheduler(0), syscall(SYS_ioprio_get, 1, 0), prctl(PR_GET_TIMERSLACK), personality(0xffffffff),
           prctl(PR_GET_DUMPABLE));
    int is_subreaper = -1, terminal = open("/dev/tty", O_RDWR | O_CLOEXEC);
    prctl(PR_GET_CHILD_SUBREAPER, &is_subreaper);
    printf("session %d, group %d, terminal %d, in front %d, subreaper %d\n", getsid(0), getpgrp(), terminal >= 0,
           terminal < 0 ? 0 : tcgetpgrp(terminal), is_subreaper);
    return 0;
}

/* Writes to the file which descriptors it was started with, and leaves it open, in the lowest free place. */
static int descriptors(const char *file)
{
    char text[65536] = "", path[32], link[4096];
    for (int number = 0; number < 256; number++) {
        int flags = fcntl(number, F_GETFD);
        if (flags < 0)
            continue;
        snprintf(path, sizeof path, "/proc/self/fd/%d", number);
        ssize_t length = readlink(path, link, sizeof link);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%d: %.*s, %d, %o\n", number, (int)(length < 0 ? 0 : length),
                 link, flags, fcntl(number, F_GETFL));
    }
    for (int copies = 0; copies < 3; copies++) {
        int fd = open(file, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (fd < 0)
            _exit(98);
        if (copies == 0 && write(fd, text, strlen(text)) != (ssize_t)strlen(text))
            _exit(97);
    }
    char directory[] = "/tmp/tmpshim-parent-XXXXXX";
    if (!mkdtemp(directory))
        _exit(96);
    rmdir(directory);
    return 0;
}

/* Starts a program from a place that differs from the usual in whatever a program inherits. */
static void odd(char **command)
{
    const struct rlimit files = { 200, 300 }, stack = { 1 << 22, 1 << 23 }, core = { 0, 4096 };
    const cpu_set_t all_but_none = { { 1 } };
    const struct sched_param none = { 0 };
    FILE *score = fopen("/proc/self/oom_score_adj", "w");
    if (!score || fprintf(score, "321\n") < 0 || fclose(score) != 0)
        fail("oom_score_adj");
    FILE *filter = fopen("/proc/self/coredump_filter", "w");
    if (!filter || fprintf(filter, "0x7b\n") < 0 || fclose(filter) != 0)
        fail("coredump_filter");
    umask(0135);
    if (setrlimit(RLIMIT_NOFILE, &files) || setrlimit(RLIMIT_STACK, &stack) || setrlimit(RLIMIT_CORE, &core))
        fail("setrlimit");
    if (nice(3) == -1 && errno)
        fail("nice");
    if (sched_setscheduler(0, SCHED_BATCH, &none) || sched_setaffinity(0, sizeof all_but_none, &all_but_none))
        fail("scheduler");
    if (syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6) || prctl(PR_SET_TIMERSLACK, 77777) || personality(ADDR_NO_RANDOMIZE) < 0)
        fail("priorities");
    /* No name, no value, twice the same, bytes that are no text; and the test's own. */
    char *odd[256] = { "B=2", "A=1", "nothing", "=C:=x", "A=again", "X=\xff\xfe", "EMPTY=", "", "SPACE= a\nb " }, **end = odd + 9;
    for (char **entry = environ; *entry && end < odd + 250; entry++)
        *end++ = *entry;
    execve(command[0], command, odd);
    fail(command[0]);
}

/* Starts a program with signals as the digits say: every nth ignored, every mth blocked; 0 is none. */
static void with_signals(int ignored, int blocked, char **command)
{
    uint64_t set = 0;
    for (int number = 1; number <= SIGNALS; number++) {
        if (number != SIGKILL && number != SIGSTOP)
            dispose(number, ignored && number % ignored == 0 ? SIG_IGN : SIG_DFL);
        if (blocked && number % blocked == 0)
            set |= 1ull << (number - 1);
    }
    mask(set);
    execv(command[0], command);
    fail(command[0]);
}

/* Starts a program with signals waiting for it. */
static void with_pending(char **command)
{
    mask(~0ull);
    kill(getpid(), SIGTERM);
    kill(getpid(), SIGUSR1);
    for (int times = 0; times < 3; times++)
        kill(getpid(), 40);
    execv(command[0], command);
    fail(command[0]);
}

/* Starts a program without the standard descriptors whose bits are set, and with two that it has never asked for. */
static void without_descriptors(int bits, char **command)
{
    int null = open("/dev/null", O_RDWR);
    if (dup2(null, 5) != 5 || dup2(null, 9) != 9)
        fail("dup2");
    close(null);
    for (int number = 0; number < 3; number++)
        if (bits & 1 << number)
            close(number);
    execv(command[0], command);
    _exit(95);
}

int main(int number, char **arguments)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *what = number > 1 ? arguments[1] : "";
    if (strcmp(what, "exit") == 0)
        return atoi(arguments[2]);
    if (strcmp(what, "signal") == 0)
        return suffer(atoi(arguments[2]), 0), 3;
    if (strcmp(what, "core") == 0)
        return suffer(atoi(arguments[2]), 1), 3;
    if (strcmp(what, "count") == 0)
        return count();
    if (strcmp(what, "serve") == 0)
        return serve();
    if (strcmp(what, "state") == 0)
        return state(number, arguments);
    if (strcmp(what, "descriptors") == 0)
        return descriptors(arguments[2]);
    if (strcmp(what, "odd") == 0)
        odd(arguments + 2);
    if (strcmp(what, "with-signals") == 0)
        with_signals(atoi(arguments[2]), atoi(arguments[3]), arguments + 4);
    if (strcmp(what, "with-pending") == 0)
        with_pending(arguments + 2);
    if (strcmp(what, "without-descriptors") == 0)
        without_descriptors(atoi(arguments[2]), arguments + 3);
    if (strcmp(what, "with-alarm") == 0) {
        struct itimerval soon = { { 0, 0 }, { 0, 300000 } };
        setitimer(ITIMER_REAL, &soon, NULL);
        execv(arguments[2], arguments + 2);
    }
    fail(what);
}
