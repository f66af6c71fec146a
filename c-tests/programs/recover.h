// What comes after a process that could not clean up for itself: `tmpshim sweep`, or the next process that tracks
// something. Both have to be there, so nothing here is for the control.
#ifndef RECOVER_H
#define RECOVER_H

#include "victim.h"

// The command under test; the harness names it.
static const char *command(void)
{
    const char *path = getenv("TESTED_COMMAND");
    CHECK(path != NULL);
    return path;
}

static pid_t start_sweep(void)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        // What it says is for people; an error would come out on the other one.
        int nowhere = open("/dev/null", O_WRONLY);
        CHECK(dup2(nowhere, 1) == 1);
        execl(command(), "tmpshim", "sweep", (char *)NULL);
        CHECKF(0, "exec %s", command());
    }
    return pid;
}

static void sweep(void)
{
    int status = ended(start_sweep());
    CHECKF(exited(status, 0), "tmpshim sweep: status %#x", status);
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
    const char *state = getenv("TMPSHIM_STATE_DIR");
    CHECK(state != NULL);
    return count_names(state, "");
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
