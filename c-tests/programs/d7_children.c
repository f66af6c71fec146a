// D7: a child never removes what its parent made, however it came to be and however it ends, and leaves the parent able to
// remove it by itself. A child's own directory goes with the child.
#include "victim.h"

#include <sched.h>
#include <sys/mman.h>

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ull
#endif

static char dir[] = "d.XXXXXX";

// How a child ends that may have its parent's memory: system calls and signals, never exit().
static void by_exit_low(void) { _exit(3); }
static void by_exit_group(void) { syscall(SYS_exit_group, 3); }
// Not raise(): musl sends that to the thread it believes to be in, which in such a child is the parent's.
static void by_term(void) { kill(syscall(SYS_getpid), SIGTERM); }
static void by_kill(void) { kill(syscall(SYS_getpid), SIGKILL); }
static void by_fault(void) { *(volatile int *)NULL = 1; }
static void by_exec(void)
{
    execl("/bin/true", "true", (char *)NULL);
    _exit(127);
}
static void by_failed_exec(void)
{
    execl("/nonexistent", "nonexistent", (char *)NULL);
    _exit(3);
}
// What a shell's child does before its exec. The dispositions are its own, the memory may not be.
static void after_setting_signals(void)
{
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_DFL);
    signal(SIGHUP, SIG_IGN);
    struct sigaction set = { .sa_handler = SIG_DFL };
    sigaction(SIGQUIT, &set, NULL);
    _exit(3);
}
// And how one ends that has its own.
static void by_exit(void) { exit(3); }
static void by_quick_exit(void) { quick_exit(3); }
#ifdef __GLIBC__
static void by_abort(void) { abort(); }
#else
#define by_abort by_term
#endif

static void (*const ends[])(void) = {
    by_exit_low, by_exit_group, by_term, by_kill, by_fault, by_exec, by_failed_exec,
    after_setting_signals, by_exit, by_quick_exit, by_abort,
};

#define ENDS (sizeof ends / sizeof *ends)
#define SHARED_ENDS 8

static pid_t forked(void (*end)(void))
{
    pid_t pid = fork();
    if (pid == 0)
        end();
    return pid;
}

static pid_t vforked(void (*end)(void))
{
    pid_t pid = vfork();
    if (pid == 0)
        end();
    return pid;
}

// Not through libc, so that no atfork handler runs and no cached pid is renewed. CRIU does this.
static pid_t cloned(void (*end)(void))
{
    pid_t pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        end();
    return pid;
}

static pid_t cloned3(void (*end)(void))
{
    uint64_t arguments[8] = { [4] = SIGCHLD };
    pid_t pid = syscall(SYS_clone3, arguments, sizeof arguments);
    if (pid == 0)
        end();
    return pid;
}

static pid_t cloned3_with_default_signals(void (*end)(void))
{
    uint64_t arguments[8] = { [0] = CLONE_CLEAR_SIGHAND, [4] = SIGCHLD };
    pid_t pid = syscall(SYS_clone3, arguments, sizeof arguments);
    if (pid == 0)
        end();
    return pid;
}

static int end_here(void *end)
{
    (*(void (**)(void))end)();
    return 0;
}

static pid_t cloned_on(int flags, void (*end)(void))
{
    static void (*kept)(void);
    char *stack = mmap(NULL, 1 << 18, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    CHECK(stack != MAP_FAILED);
    kept = end;
    return clone(end_here, stack + (1 << 18), flags | SIGCHLD, &kept);
}

static pid_t with_memory(void (*end)(void)) { return cloned_on(CLONE_VM, end); }
static pid_t with_memory_stopped(void (*end)(void)) { return cloned_on(CLONE_VM | CLONE_VFORK, end); }
static pid_t with_files(void (*end)(void)) { return cloned_on(CLONE_FILES | CLONE_FS, end); }

static pid_t (*const starts[])(void (*)(void)) = {
    forked, cloned, cloned3, cloned3_with_default_signals, with_files, vforked, with_memory, with_memory_stopped,
};

#define STARTS (sizeof starts / sizeof *starts)
#define FIRST_SHARED 5

struct how {
    size_t start, end;
    int parent_end;
};

static void play(const void *arg)
{
    const struct how *how = arg;
    CHECK(mkdtemp(dir) == dir);
    put(in(dir, "content"), "x");
    for (int twice = 0; twice < 2; twice++) {
        pid_t pid = starts[how->start](ends[how->end]);
        CHECK(pid > 0);
        ended(pid);
        CHECKF(holds(in(dir, "content"), "x"), "start %zu, end %zu", how->start, how->end);
    }
    if (how->parent_end)
        raise(how->parent_end);
    EVERY_DEADLY_SIGNAL(sig)
        CHECKF(signal(sig, SIG_DFL) == SIG_DFL, "start %zu, end %zu, signal %d", how->start, how->end, sig);
}

// Each child makes its own. It goes with the child, and only that one.
static void child_with_its_own(void)
{
    char own[] = "own.XXXXXX";
    CHECK(mkdtemp(own) == own);
    put(in(own, "content"), "x");
}

static void own_and_exit(void) { child_with_its_own(); exit(3); }
static void own_and_exit_low(void) { child_with_its_own(); _exit(3); }
static void own_and_quick_exit(void) { child_with_its_own(); quick_exit(3); }
static void own_and_term(void) { child_with_its_own(); by_term(); }
static void own_and_abort(void) { child_with_its_own(); by_abort(); }

static void parent_of_owners(const void *arg)
{
    void (*const owners[])(void) = { own_and_exit, own_and_exit_low, own_and_quick_exit, own_and_term, own_and_abort };
    const struct how *how = arg;
    // With a directory of the parent's, and without: the child is then the first to track anything.
    if (how->parent_end)
        CHECK(mkdtemp(dir) == dir);
    pid_t pid = starts[how->start](owners[how->end]);
    CHECK(pid > 0);
    ended(pid);
    CHECKF(count_names(".", "own.") == 0, "start %zu, end %zu: the child's own is left", how->start, how->end);
    CHECKF(!how->parent_end || exists(dir), "start %zu, end %zu: the parent's is gone", how->start, how->end);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    for (size_t s = 0; s < STARTS; s++)
        for (size_t e = 0; e < (s < FIRST_SHARED ? ENDS : SHARED_ENDS); e++)
            for (int p = 0; p < 3; p++) {
                struct how how = { s, e, (int[]) { 0, SIGTERM, SIGHUP }[p] };
                // A vforked child's calls to signal(2) work on its parent's memory and its own dispositions. The signals
                // that it set differently are the parent's to get.
                int status = watch(play, &how);
                CHECKF(how.parent_end ? killed(status, how.parent_end) : exited(status, 0),
                       "start %zu, end %zu, parent's end %d: status %#x", s, e, how.parent_end, status);
                CHECKF(count_names(".", "") == 0, "start %zu, end %zu, parent's end %d", s, e, how.parent_end);
            }
    for (size_t s = 0; s < FIRST_SHARED; s++)
        for (size_t e = 0; e < 5; e++)
            for (int p = 0; p < 2; p++) {
                struct how how = { s, e, p };
                CHECKF(exited(watch(parent_of_owners, &how), 0), "owners: start %zu, end %zu", s, e);
                CHECKF(count_names(".", "") == 0, "owners: start %zu, end %zu", s, e);
            }
    return 0;
}
