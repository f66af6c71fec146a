// D3: vfork. Such a child has its parent's memory, and with it whatever holds a directory, and gives none of it up: neither
// its parent's own, nor what its parent, which made none, only holds for a process it was forked from.
#include "lives.h"

// System calls and signals only.
static void by_exec(void)
{
    execl("/bin/true", "true", (char *)NULL);
    _exit(127);
}
static void by_failed_exec(void)
{
    execl("/nonexistent", "nonexistent", (char *)NULL);
    _exit(0);
}
static void by_exit_low(void) { _exit(0); }
static void by_exit_group(void) { syscall(SYS_exit_group, 0); }
static void by_term(void) { kill(syscall(SYS_getpid), SIGTERM); }
static void by_kill(void) { kill(syscall(SYS_getpid), SIGKILL); }

static void (*const ends[])(void) = { by_exec, by_failed_exec, by_exit_low, by_exit_group, by_term, by_kill };

#define ENDS (sizeof ends / sizeof *ends)

static void vfork_and_wait(size_t end)
{
    pid_t pid = vfork();
    if (pid == 0)
        ends[end]();
    int status = ended(pid);
    CHECKF(exited(status, 0) || killed(status, SIGTERM) || killed(status, SIGKILL), "end %zu: status %#x", end, status);
}

// The maker's own child.
static void make_and_vfork(const void *arg)
{
    make_with_content((char[]) { "d.XXXXXX" });
    vfork_and_wait(*(const size_t *)arg);
    live();
}

struct way {
    size_t end;
    int maker_ends_first;
};

// A forked process without a directory of its own, and its child. It waits for the observer twice: before, and after.
static void hold_and_vfork(const struct way *way)
{
    if (way->maker_ends_first)
        live();
    vfork_and_wait(way->end);
    atomic_store(&board->go, 0);
    live();
    exit(0);
}

static void make_and_fork(const void *arg)
{
    const struct way *way = arg;
    make_with_content((char[]) { "d.XXXXXX" });
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        hold_and_vfork(way);
    atomic_store(&board->pid, pid);
    // Otherwise the maker ends once the child's child has.
    if (!way->maker_ends_first)
        EVENTUALLY(atomic_load(&board->ready));
}

int main(int argc, char **argv)
{
    char words[64];
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    observe();
    for (size_t e = 0; e < ENDS; e++) {
        snprintf(words, sizeof words, "the maker's child, end %zu", e);
        clear_board();
        pid_t pid = start(make_and_vfork, &e);
        EVENTUALLY(atomic_load(&board->ready));
        check_held(1, words);
        atomic_store(&board->go, 1);
        CHECKF(exited(ended(pid), 0), "%s", words);
        check_gone(words);
    }
    for (size_t e = 0; e < ENDS; e++)
        for (int first = 0; first < 2; first++) {
            struct way way = { e, first };
            snprintf(words, sizeof words, "the holder's child, end %zu, maker %s", e, first ? "gone" : "there");
            clear_board();
            CHECKF(exited(watch(make_and_fork, &way), 0), "%s", words);
            if (first) {
                EVENTUALLY(atomic_load(&board->ready));
                check_held(1, words);
                atomic_store(&board->ready, 0);
                atomic_store(&board->go, 1);
            }
            // The child's child has ended.
            EVENTUALLY(atomic_load(&board->ready));
            check_held(1, words);
            atomic_store(&board->go, 1);
            CHECKF(exited(ended(atomic_load(&board->pid)), 0), "%s", words);
            check_gone(words);
        }
    return 0;
}
