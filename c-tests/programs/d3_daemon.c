// D3: a daemon. The process that made the directory ends first, in any way; the directory stays as long as the daemon
// lives, whatever that closes, and goes when it ends.
#include "lives.h"

#include <sched.h>

enum begin { FORK, DOUBLE, CLONE3, NEW_PID, BEGINS };
enum end { RETURN, EXIT, EXIT_LOW, TERM, KILL, PARENT_ENDS, QUICK_EXIT = PARENT_ENDS, ABORT, DAEMON_ENDS };
enum closes { NOTHING, FROM_3, EVERYTHING, CLOSES };

struct way {
    enum begin begin;
    enum end parent, daemon;
    enum closes closes;
};

// Returns what main is to return.
static int end(enum end how)
{
    switch (how) {
    case EXIT: exit(3);
    case EXIT_LOW: _exit(3);
    case QUICK_EXIT: quick_exit(3);
    case ABORT: abort();
    // Not raise(): in a child that libc does not know of, it may mean the parent.
    case TERM: kill(syscall(SYS_getpid), SIGTERM); break;
    case KILL: kill(syscall(SYS_getpid), SIGKILL); break;
    default: break;
    }
    return 3;
}

static int is_end(int status, enum end how)
{
    switch (how) {
    case TERM: return killed(status, SIGTERM);
    case KILL: return killed(status, SIGKILL);
    case ABORT: return killed(status, SIGABRT);
    default: return exited(status, 3);
    }
}

// SIGCHLD and nothing else, as CRIU does it: no atfork handler runs.
static pid_t clone_without_libc(uint64_t flags)
{
    uint64_t arguments[8] = { [0] = flags, [4] = SIGCHLD };
    return syscall(SYS_clone3, arguments, sizeof arguments);
}

static pid_t begin(enum begin how)
{
    return how == CLONE3 ? clone_without_libc(0) : how == NEW_PID ? clone_without_libc(CLONE_NEWPID) : fork();
}

static int be_daemon(const struct way *way)
{
    setsid();
    CHECK(chdir("/") == 0);
    for (int fd = way->closes == FROM_3 ? 3 : 0; way->closes != NOTHING && fd < 1024; fd++)
        close(fd);
    live();
    return end(way->daemon);
}

// Who makes a directory on the way: the first process, and with two forks the one between as well.
static int makers(const struct way *way)
{
    return way->begin == DOUBLE ? 2 : 1;
}

static int first(const struct way *way)
{
    make_with_content((char[]) { "d.XXXXXX" });
    pid_t pid = begin(way->begin);
    CHECK(pid >= 0);
    if (pid == 0) {
        if (way->begin != DOUBLE)
            return be_daemon(way);
        make_with_content((char[]) { "d.XXXXXX" });
        pid = fork();
        CHECK(pid >= 0);
        if (pid == 0)
            return be_daemon(way);
        atomic_store(&board->pid, pid);
        return end(way->parent);
    }
    if (way->begin == DOUBLE)
        CHECK(is_end(ended(pid), way->parent));
    else
        atomic_store(&board->pid, pid);
    return end(way->parent);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    observe();
    for (unsigned i = 0; i < BEGINS * PARENT_ENDS * DAEMON_ENDS; i++) {
        struct way way = { i % BEGINS, i / BEGINS % PARENT_ENDS, i / BEGINS / PARENT_ENDS, 0 };
        way.closes = (way.begin + way.parent + way.daemon) % CLOSES;
        // Pid 1 of a namespace is not ended by a signal of its own.
        if (way.begin == NEW_PID && (way.daemon == TERM || way.daemon == KILL || way.daemon == ABORT))
            continue;
        char words[80];
        snprintf(words, sizeof words, "begin %d, ends %d and %d, closes %d", way.begin, way.parent, way.daemon, way.closes);

        clear_board();
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0)
            return first(&way);
        int status = ended(pid);
        CHECKF(is_end(status, way.parent), "%s: the maker's status %#x", words, status);
        EVENTUALLY(atomic_load(&board->ready));
        check_held(makers(&way), words);
        atomic_store(&board->go, 1);
        status = ended(atomic_load(&board->pid));
        CHECKF(is_end(status, way.daemon), "%s: the daemon's status %#x", words, status);
        // In a namespace of its own the daemon cannot see whether those who made it have become other programs.
        if (way.daemon == KILL || way.begin == NEW_PID)
            check_gone_after_recovery(words);
        else
            check_gone(words);
    }
    return 0;
}
