// What comes after a process that could not clean up for itself: `tmpshim sweep`, or the next process that tracks
// something. Both have to be there, so nothing here is for the control.
#ifndef RECOVER_H
#define RECOVER_H

#include "victim.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>

// Goes on in a PID namespace of its own, as its first process: what is orphaned comes to it, and ends with it, and `tmpshim
// sweep`, which looks at all processes, has only these to look at.
static void alone(void)
{
    // A supervisor tracks nothing in another mount namespace.
    if (by_supervisor()) {
        CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
        return;
    }
    CHECK(unshare(CLONE_NEWPID | CLONE_NEWNS) == 0);
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid > 0) {
        int status = ended(pid);
        CHECKF(WIFEXITED(status), "status %#x", status);
        _exit(WEXITSTATUS(status));
    }
    CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mount("proc", "/proc", "proc", 0, NULL) == 0);
}

// The command under test; the harness names it.
static const char *command(void)
{
    const char *path = getenv("TESTED_COMMAND");
    CHECK(path != NULL);
    return path;
}

struct sweep {
    pid_t pid;
    int said;
};

// Nobody else's is looked into, as root's sweep would.
static const char *state(void)
{
    const char *path = getenv("TMPSHIM_STATE_DIR");
    CHECK(path != NULL);
    return path;
}

static struct sweep start_sweep(void)
{
    struct sweep sweep = { .said = memfd_create("said", MFD_CLOEXEC) };
    CHECK(sweep.said >= 0 && (sweep.pid = fork()) >= 0);
    if (sweep.pid == 0) {
        CHECK(dup2(sweep.said, 1) == 1);
        execl(command(), "tmpshim", "sweep", "--state-dir", state(), (char *)NULL);
        CHECKF(0, "exec %s", command());
    }
    return sweep;
}

static void end_sweep(const struct sweep *sweep)
{
    char said[4096] = "";
    int status = ended(sweep->pid);
    CHECK(pread(sweep->said, said, sizeof said - 1, 0) >= 0);
    close(sweep->said);
    CHECKF(exited(status, 0), "tmpshim sweep: status %#x\n%s", status, said);
}

static void sweep(void)
{
    struct sweep sweep = start_sweep();
    end_sweep(&sweep);
}

static void make_one_and_remove_it(const void *unused)
{
    (void)unused;
    char own[] = "next.XXXXXX";
    CHECK(mkdtemp(own) == own && rmdir(own) == 0);
}

// Another process begins to track something, and ends.
static void next_process(void)
{
    int status = watch(make_one_and_remove_it, NULL);
    CHECKF(exited(status, 0), "the next process: status %#x", status);
}

static int journals(void)
{
    return count_names(state(), "");
}

// So many processes each play the part, and are killed once all have: one that began later would recover from the others.
static void leave_behind(part *play, int count)
{
    int done[2];
    char byte;
    pid_t *pids = calloc((size_t)count + 1, sizeof *pids);
    CHECK(pids != NULL && pipe2(done, O_CLOEXEC) == 0);
    for (int i = 0; i < count; i++) {
        CHECK((pids[i] = fork()) >= 0);
        if (pids[i] == 0) {
            play(NULL);
            CHECK(write(done[1], "x", 1) == 1);
            pause();
        }
    }
    close(done[1]);
    for (int i = 0; i < count; i++)
        CHECK(read(done[0], &byte, 1) == 1);
    close(done[0]);
    for (int i = 0; i < count; i++)
        CHECK(kill(pids[i], SIGKILL) == 0 && killed(ended(pids[i]), SIGKILL));
    free(pids);
}

#endif
