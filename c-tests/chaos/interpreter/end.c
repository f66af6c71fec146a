// All ways in which a process can end.
#include "interpreter.h"

// raise() of a vfork child may mean its parent, whose number libc remembers.
static void send(int sig)
{
    syscall(SYS_tgkill, syscall(SYS_getpid), syscall(SYS_gettid), sig);
}

static void fault(int sig)
{
    if (sig == SIGSEGV)
        *(volatile int *)8 = 1;
    if (sig == SIGILL)
        __builtin_trap();
    send(sig);
}

// Not through libc: exit_group by an instruction of the program's own.
static void raw_exit(int code)
{
#if defined(__x86_64__)
    __asm__ volatile("syscall" : : "a"(SYS_exit_group), "D"(code) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = SYS_exit_group, x0 __asm__("x0") = code;
    __asm__ volatile("svc 0" : : "r"(x8), "r"(x0) : "memory");
#endif
}

static void *exit_in_thread(void *code)
{
    exit((int)(intptr_t)code);
}
static void *low_exit_in_thread(void *code)
{
    _exit((int)(intptr_t)code);
}

static void in_thread(void *(*way)(void *), int code)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, way, (void *)(intptr_t)code) == 0)
        for (;;)
            pause();
}

void end(const struct operation *o)
{
    const char *how = o->argument[0];
    int code = number(o, 1);
    if (strcmp(how, "exit") == 0)
        exit(code);
    if (strcmp(how, "return") == 0)
        longjmp(back_to_main, code + 1);
    if (strcmp(how, "quick_exit") == 0)
        quick_exit(code);
    if (strcmp(how, "_exit") == 0)
        _exit(code);
    if (strcmp(how, "_Exit") == 0)
        _Exit(code);
    if (strcmp(how, "exit_group") == 0)
        syscall(SYS_exit_group, code);
    if (strcmp(how, "raw") == 0)
        raw_exit(code);
    if (strcmp(how, "thread") == 0)
        in_thread(exit_in_thread, code);
    if (strcmp(how, "thread_low") == 0)
        in_thread(low_exit_in_thread, code);
    if (strcmp(how, "pthread_exit") == 0)
        pthread_exit(NULL);
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "raise") == 0)
        fault(code);
    if (strcmp(how, "kill") == 0)
        kill(syscall(SYS_getpid), code);
    report(o, "still alive");
    _exit(99);
}
