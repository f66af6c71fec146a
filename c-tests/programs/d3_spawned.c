// D3: a child that was started with another program and is alive when the maker exits keeps the directory; when the child
// has ended, the next process that tracks something removes it, or a sweep. When a signal ends the maker, such a child
// does not hold it, nor does one that has ended and only not been waited for.
#include "lives.h"

#include <spawn.h>

extern char **environ;

enum how { FORK, VFORK, SPAWN, HOWS };

// The child, /bin/cat, lives until this pipe is closed.
static int input[2];

static pid_t start_cat(enum how how)
{
    static char *const arguments[] = { "cat", NULL };
    pid_t pid = -1;
    posix_spawn_file_actions_t actions;
    switch (how) {
    case FORK:
    case VFORK:
        pid = how == FORK ? fork() : vfork();
        if (pid == 0) {
            dup2(input[0], 0);
            execv("/bin/cat", arguments);
            _exit(127);
        }
        break;
    default:
        CHECK(posix_spawn_file_actions_init(&actions) == 0);
        CHECK(posix_spawn_file_actions_adddup2(&actions, input[0], 0) == 0);
        CHECK(posix_spawn(&pid, "/bin/cat", &actions, NULL, arguments, environ) == 0);
    }
    CHECK(pid > 0);
    return pid;
}

static int is_cat(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    return holds(path, "cat\n");
}

struct way {
    enum how how;
    // How the maker ends: by a signal, or 0 for exit, or 1 for _exit.
    int end;
};

static void make_and_start(const void *arg)
{
    const struct way *way = arg;
    make_with_content((char[]) { "d.XXXXXX" });
    pid_t pid = start_cat(way->how);
    atomic_store(&board->pid, pid);
    // A forked child holds it in any case, until its exec.
    EVENTUALLY(is_cat(pid));
    if (way->end == 1)
        _exit(0);
    if (way->end)
        raise(way->end);
}

static void make_start_and_do_not_wait(const void *how)
{
    siginfo_t info;
    make_with_content((char[]) { "d.XXXXXX" });
    pid_t pid = start_cat(*(const enum how *)how);
    CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0);
}

static void several(const void *unused)
{
    (void)unused;
    make_with_content((char[]) { "d.XXXXXX" });
    make_with_content((char[]) { "d.XXXXXX" });
    for (int i = 0; i < 4; i++) {
        pid_t pid = start_cat(i % HOWS);
        EVENTUALLY(is_cat(pid));
    }
}

int main(int argc, char **argv)
{
    const int ends[] = { 0, 1, SIGTERM, SIGHUP, SIGSEGV, SIGABRT, SIGKILL };
    char words[64];
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    observe();
    for (size_t i = 0; i < HOWS * 2 * sizeof ends / sizeof *ends; i++) {
        // Each twice, since there are two ways to recover.
        struct way way = { i / 2 % HOWS, ends[i / 2 / HOWS] };
        // Who is not the parent learns when a process ends, but not how: to a supervisor every child holds.
        if (way.end > 1 && by_supervisor())
            continue;
        snprintf(words, sizeof words, "start %d, the maker's end %d", way.how, way.end);
        CHECK(pipe2(input, O_CLOEXEC) == 0);
        int status = watch(make_and_start, &way);
        CHECKF(way.end > 1 ? killed(status, way.end) : exited(status, 0), "%s: status %#x", words, status);
        if (way.end == SIGKILL)
            check_gone_after_recovery(words);
        else if (way.end > 1)
            check_gone(words);
        else
            check_held(1, words);
        close(input[0]);
        close(input[1]);
        CHECKF(exited(ended(atomic_load(&board->pid)), 0), "%s", words);
        if (way.end <= 1)
            check_gone_after_recovery(words);
    }
    for (enum how how = 0; how < HOWS; how++) {
        CHECK(pipe2(input, O_CLOEXEC) == 0 && close(input[1]) == 0);
        CHECK(exited(watch(make_start_and_do_not_wait, &how), 0));
        check_gone("a child that has ended");
        close(input[0]);
    }
    // With several it goes with the last.
    CHECK(pipe2(input, O_CLOEXEC) == 0);
    CHECK(exited(watch(several, NULL), 0));
    check_held(2, "several children");
    close(input[0]);
    close(input[1]);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    check_gone_after_recovery("several children");
    return 0;
}
