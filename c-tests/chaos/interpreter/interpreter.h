// What the parts of the interpreter share. `interpreter SCRIPT BOARD ARENA LIST` carries out one list of a script that the
// generator wrote (src/script.rs has its form), and in its children those that it forks. It knows nothing of tmpshim, and
// nothing of why an answer is to be as the script says.
#ifndef INTERPRETER_H
#define INTERPRETER_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef O_TMPFILE
#define O_TMPFILE (020000000 | O_DIRECTORY)
#endif
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif

enum { LISTS = 64, NAMES = 512, FILES = 256, REPORTS = 24, REPORT = 320, ARGUMENTS = 8, OPERATIONS = 4096 };

// Shared by all processes of a program, and read by who started it: it outlives fork, exec, closefrom and chroot.
struct board {
    _Atomic uint32_t reports;
    char report[REPORTS][REPORT];
    _Atomic uint32_t done;
    _Atomic int32_t pid[LISTS];
    _Atomic int32_t parked[LISTS];
    // Whose child a list's process is, which may be gone when its image begins.
    _Atomic int32_t parent[LISTS];
    char name[NAMES][24];
};

// One line of the script.
struct operation {
    int list;
    int line;
    int expected;
    int count;
    char *verb;
    char *argument[ARGUMENTS];
};

extern struct board *board;
extern const char *arena;
// Where a descriptor is kept, by its number in the script; -1 where there is none.
int *file_of(int file);

// Says on the board what was not as the script says.
void report(const struct operation *operation, const char *format, ...) __attribute__((format(printf, 2, 3)));

// The path as the kernel is to have it: `@` is the arena, `%N` the name that mkdtemp number N came to.
const char *path(const struct operation *operation, int argument, char room[PATH_MAX]);
long number(const struct operation *operation, int argument);

// Carries out what concerns directories and files, and returns 0, an errno, or -1 where the verb is none of these.
int call(const struct operation *operation);
#define IS(word) (strcmp(o->verb, word) == 0)

// Ends the process as the operation says.
void end(const struct operation *operation) __attribute__((noreturn));

extern jmp_buf back_to_main;

#endif
