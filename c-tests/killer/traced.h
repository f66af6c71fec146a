// What the tracers here share: starting a program under PTRACE_SEIZE, and its stops at system calls.
#ifndef TRACED_H
#define TRACED_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARKER (-424242)

enum { CALLS = 0x80 }; // what PTRACE_O_TRACESYSGOOD adds to SIGTRAP

// The tracer's own name.
static const char *tracer_name;

static void die(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", tracer_name, what, strerror(errno));
    exit(125);
}

// A process that is being killed by somebody else cannot be resumed, and its end will be reported.
static void resume(int request, pid_t pid, int sig)
{
    if (ptrace(request, pid, NULL, (long)sig) != 0 && errno != ESRCH)
        die("resume");
}

// The child waits for its tracer, which attaches with PTRACE_SEIZE: a traced process then starts, stops and is stopped as
// without a tracer. `out` and `err` become its output; -1: the tracer's own.
static pid_t start(char **command, int out, int err)
{
    int gate[2];
    if (pipe2(gate, O_CLOEXEC) != 0)
        die("pipe");
    pid_t pid = fork();
    if (pid == -1)
        die("fork");
    if (pid == 0) {
        char byte;
        close(gate[1]);
        if (read(gate[0], &byte, 1) != 1)
            _exit(125);
        if ((out >= 0 && dup2(out, 1) != 1) || (err >= 0 && dup2(err, 2) != 2))
            _exit(125);
        execv(command[0], command);
        die(command[0]);
    }
    long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK |
                   PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;
    if (ptrace(PTRACE_SEIZE, pid, NULL, options) != 0 || ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) != 0)
        die("attach");
    if (write(gate[1], "x", 1) != 1)
        die("pipe");
    close(gate[0]);
    close(gate[1]);
    return pid;
}

// Whether the process is stopped before a call; `info` says which.
static int is_before(pid_t pid, struct __ptrace_syscall_info *info)
{
    return ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof *info, info) > 0 && info->op == PTRACE_SYSCALL_INFO_ENTRY;
}

#endif
