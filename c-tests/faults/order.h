// What both injectors are told, and what they say.
//
// usage: [-m] [-s SECONDS] [-a CALL=ERRNO]... OUT ERR program [argument...]
//     -m   count only what comes after the first mark
//     -a   this call always fails so
//     -s   a run that takes longer hangs (20)
// OUT and ERR are files that get what the program prints, each run anew.
//
// Each line of standard input is an order: run the program once, with this fault.
//     P CALL N ERRNO EVER    the N-th CALL (a number) of the P-th process fails with ERRNO; if EVER, so do all later ones
//     0 0 0 0 0              no fault: list the calls
// Processes are numbered in the order in which they appear, from 1 on, threads with their process. For each run they print
//     call P CALL NAME TEXT  (list) a call of a process of that name, and the path in it, if there is one
//     failed P CALL N TEXT   the fault has happened
//     end exit N | end signal N | end hangs     how the first process ended; whatever hung has been killed
// A call is counted where it comes between the marks that the program makes: close(-424242), and behind that close(-424243).
// Without -m the first is taken as made when the program starts. What fails for ever does so behind close(-424244), too.
#ifndef ORDER_H
#define ORDER_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define BEGIN (-424242)
#define END (-424243)
#define AGAIN (-424244)

enum { CALL_NUMBERS = 512, PROCESSES = 64, RULES = 8 };

struct order {
    int process, call, nth, error, ever;
};

static struct order order;
static int is_begun, is_over, is_done;
static int counts[PROCESSES][CALL_NUMBERS];
// Calls that fail always, in all processes, between the marks; they are not counted.
static struct { int call, error; } rules[RULES];
static int rule_count;

struct options {
    int is_begun;
    unsigned seconds;
    const char *out, *err;
    char **command;
};

static void die(const char *what);

static int next_order(int begun)
{
    memset(counts, 0, sizeof counts);
    is_begun = begun;
    is_over = is_done = 0;
    return scanf("%d %d %d %d %d", &order.process, &order.call, &order.nth, &order.error, &order.ever) == 5;
}

static int add_rule(const char *text)
{
    return rule_count < RULES && sscanf(text, "%d=%d", &rules[rule_count].call, &rules[rule_count].error) == 2 && ++rule_count;
}

static struct options options_of(int argc, char **argv)
{
    struct options options = { .is_begun = 1, .seconds = 20 };
    int option;
    while ((option = getopt(argc, argv, "+ma:s:")) != -1)
        if (option == 'm')
            options.is_begun = 0;
        else if (option == 's')
            options.seconds = (unsigned)atoi(optarg);
        else if (option != 'a' || !add_rule(optarg))
            exit(125);
    if (argc - optind < 3 || options.seconds == 0)
        exit(125);
    options.out = argv[optind];
    options.err = argv[optind + 1];
    options.command = argv + optind + 2;
    return options;
}

static int anew(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0)
        die(path);
    return fd;
}

// How a run has come to its end, by the first process's status; -1: it hung.
static void tell_end(int status)
{
    if (status == -1)
        printf("end hangs\n");
    else if (WIFSIGNALED(status))
        printf("end signal %d\n", WTERMSIG(status));
    else
        printf("end exit %d\n", WEXITSTATUS(status));
    fflush(stdout);
}

static pid_t group_of(pid_t pid)
{
    char path[64], line[128];
    int group = pid;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *status = fopen(path, "re");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "Tgid: %d", &group) == 1)
            break;
    if (status != NULL)
        fclose(status);
    return group;
}

// Which argument is a path; -1: none.
static int path_of(long number)
{
    switch (number) {
    case SYS_openat: case SYS_newfstatat: case SYS_readlinkat: case SYS_unlinkat: case SYS_mkdirat: case SYS_statx:
    case SYS_openat2: case SYS_faccessat: case SYS_faccessat2: case SYS_linkat:
        return 1;
    case SYS_execve: case SYS_memfd_create:
#ifdef SYS_open
    case SYS_open: case SYS_stat: case SYS_lstat: case SYS_unlink: case SYS_mkdir: case SYS_rmdir: case SYS_readlink:
#endif
        return 0;
    default:
        return -1;
    }
}

// The path in a call, as one word; of ptrace, the request; "-" where there is none.
static const char *path_in(pid_t pid, long number, const uint64_t *arguments)
{
    static char path[2 * 4096 + 1];
    int argument = path_of(number);
    strcpy(path, "-");
    if (number == SYS_ptrace)
        sprintf(path, "0x%x", (unsigned)arguments[0]);
    if (argument >= 0) {
        // Page by page: what lies behind the path's last page may not be there, and the read ends before it.
        const uintptr_t from = (uintptr_t)arguments[argument], edge = (from | 4095) + 1;
        struct iovec here = { path, sizeof path - 1 };
        struct iovec there[] = { { (void *)from, edge - from }, { (void *)edge, 4096 } };
        if (process_vm_readv(pid, &here, 1, there, 2, 0) <= 0)
            strcpy(path, "-");
    }
    for (char *byte = path; *byte; byte++)
        if (*byte <= ' ')
            *byte = '?';
    return *path ? path : "-";
}

static void name_of(pid_t pid, char *name, size_t size)
{
    char file[64];
    snprintf(file, sizeof file, "/proc/%d/comm", pid);
    FILE *stream = fopen(file, "re");
    if (stream == NULL || fgets(name, (int)size, stream) == NULL)
        strcpy(name, "?");
    if (stream != NULL)
        fclose(stream);
    name[strcspn(name, " \n")] = '\0';
}

// The errno that this call is to fail with; 0: none. `process` is the number of its process; `owner` what to call that, NULL:
// by its name.
static int fault_for(pid_t pid, const char *owner, int process, long call, const uint64_t *arguments)
{
    if (call == SYS_close && (int)arguments[0] == BEGIN) {
        is_begun = 1;
        return 0;
    }
    if (call == SYS_close && (int)arguments[0] == END) {
        is_over = is_begun;
        return 0;
    }
    if (call == SYS_close && (int)arguments[0] == AGAIN) {
        is_over &= !order.ever;
        return 0;
    }
    if (!is_begun || is_over || call < 0 || call >= CALL_NUMBERS || process >= PROCESSES)
        return 0;
    for (int i = 0; i < rule_count; i++)
        if (rules[i].call == call)
            return rules[i].error;
    int nth = ++counts[process][call];
    if (order.process == 0) {
        char name[64];
        name_of(pid, name, sizeof name);
        printf("call %d %ld %s %s\n", process, call, owner ? owner : name, path_in(pid, call, arguments));
        return 0;
    }
    if (process != order.process || call != order.call || nth < order.nth || (nth > order.nth && !order.ever))
        return 0;
    if (nth == order.nth)
        printf("failed %d %ld %d %s\n", process, call, nth, path_in(pid, call, arguments));
    is_done = !order.ever;
    return order.error;
}

#endif
