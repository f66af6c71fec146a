// What the D3 programs share: an observer to whom whatever is orphaned comes, so that it sees its end, and a board in shared
// memory, since a daemon may have closed every pipe.
#ifndef LIVES_H
#define LIVES_H

#include "recover.h"

#include <stdatomic.h>
#include <sys/mman.h>

static struct board {
    atomic_int pid, ready, go;
} *board;

static void observe(void)
{
    alone();
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(board != MAP_FAILED);
}

static void clear_board(void)
{
    atomic_store(&board->pid, 0);
    atomic_store(&board->ready, 0);
    atomic_store(&board->go, 0);
}

// Waits until the observer says so; not for ever, since it may have failed.
static void wait_to_go(void)
{
    for (double deadline = seconds() + 30; !atomic_load(&board->go); usleep(200))
        if (seconds() > deadline)
            abort();
}

// For a process that the observer is to see alive.
static void live(void)
{
    atomic_store(&board->ready, 1);
    wait_to_go();
}

// The same for a fresh image of this program, in some role: what it says on its standard output is that it lives, and its
// standard input ends when it is to go.
struct image {
    pid_t pid;
    int input;
};

static struct image start_image(const char *role)
{
    struct image image;
    int input[2], output[2];
    char byte;
    CHECK(pipe2(input, O_CLOEXEC) == 0 && pipe2(output, O_CLOEXEC) == 0);
    image.pid = fork();
    CHECK(image.pid >= 0);
    if (image.pid == 0) {
        CHECK(dup2(input[0], 0) == 0 && dup2(output[1], 1) == 1);
        execl("/proc/self/exe", "image", ".", role, (char *)NULL);
        CHECKF(0, "exec");
    }
    close(input[0]);
    close(output[1]);
    CHECKF(read(output[0], &byte, 1) == 1, "%s", role);
    close(output[0]);
    image.input = input[1];
    return image;
}

static int let_go(const struct image *image)
{
    close(image->input);
    return ended(image->pid);
}

static void live_as_image(void)
{
    char byte;
    CHECK(write(1, "x", 1) == 1 && read(0, &byte, 1) == 0);
}

static void make_with_content(char *templat)
{
    CHECK(mkdtemp(templat) == templat);
    put(in(templat, "content"), "x");
}

// Nobody may take these away now: not a process that begins to track something, not a sweep.
static void check_held(int count, const char *way)
{
    CHECKF(count_names(".", "") == count, "%s: %d directories, not %d", way, count_names(".", ""), count);
    next_process();
    sweep();
    CHECKF(count_names(".", "") == count, "%s: %d directories are left of %d after a sweep", way, count_names(".", ""), count);
}

static void check_gone(const char *way)
{
    GONE(count_names(".", "") == 0, "%s: %d directories", way, count_names(".", ""));
    // A supervisor's own lies there as long as it does.
    CHECKF(by_supervisor() || journals() == 0, "%s: %d journals", way, journals());
}

// For what nobody could remove at once: each time by the other of the two.
static void check_gone_after_recovery(const char *way)
{
    static unsigned turn;
    (turn++ % 2 ? sweep : next_process)();
    check_gone(way);
}

#endif
