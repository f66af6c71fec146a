// D5: SIGKILL at every system call of a program that makes or removes directories, of one that cleans up after another, and
// of `tmpshim sweep`. The next sweep, or the next process that tracks something, leaves nothing.
#include "kill_points.h"

#include <spawn.h>

extern char **environ;

static void make(const char *templat, int with_tree)
{
    char dir[PATH_MAX];
    strcpy(dir, templat);
    CHECK(mkdtemp(dir) == dir);
    if (!with_tree)
        return;
    put(in(dir, "file"), "x");
    CHECK(mkdir(in(dir, "sub"), 0700) == 0 && mkdir(in(dir, "sub/closed"), 0) == 0);
    put(in(dir, "sub/file"), "y");
    CHECK(symlink("../../canary/sub", in(dir, "link")) == 0);
}

static void make_tree(const void *unused)
{
    (void)unused;
    make("d.XXXXXX", 1);
}

static void first(const void *unused)
{
    (void)unused;
    mark();
    make("d.XXXXXX", 0);
    die_of_kill();
}

static void third(const void *unused)
{
    (void)unused;
    make("d.XXXXXX", 1);
    make("d.XXXXXX", 0);
    mark();
    make("d.XXXXXX", 0);
    die_of_kill();
}

// The table says that TMPSHIM_TRACK matches.
static void tracked(const void *unused)
{
    (void)unused;
    make("d.XXXXXX", 0);
    mark();
    CHECK(mkdir("tracked.one", 0700) == 0 && mkdir("tracked.two", 0700) == 0 && mkdir("tracked.two", 0700) == -1);
    die_of_kill();
}

// The journal grows on the way: there is room for 64 at first.
static void many(const void *unused)
{
    (void)unused;
    for (int i = 0; i < 68; i++) {
        if (i == 62)
            mark();
        make("d.XXXXXX", 0);
    }
    die_of_kill();
}

#define LEVEL "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

// A path that takes more room than most.
static void long_path(const void *unused)
{
    (void)unused;
    CHECK(mkdir(LEVEL, 0700) == 0 && mkdir(LEVEL "/" LEVEL, 0700) == 0 && mkdir(LEVEL "/" LEVEL "/" LEVEL, 0700) == 0);
    mark();
    make(LEVEL "/" LEVEL "/" LEVEL "/d.XXXXXX", 1);
    die_of_kill();
}

static void remove_levels(void)
{
    CHECK(rmdir(LEVEL "/" LEVEL "/" LEVEL) == 0 && rmdir(LEVEL "/" LEVEL) == 0 && rmdir(LEVEL) == 0);
}

// What the program removed by itself makes room for the next.
static void again(const void *unused)
{
    (void)unused;
    char dir[] = "d.XXXXXX";
    CHECK(mkdtemp(dir) == dir);
    mark();
    CHECK(rmdir(dir) == 0);
    make("d.XXXXXX", 0);
    die_of_kill();
}

static void by_exit(const void *unused)
{
    (void)unused;
    make("d.XXXXXX", 1);
    make("d.XXXXXX", 0);
    mark();
    exit(0);
}

static void by_signal(const void *unused)
{
    (void)unused;
    make("d.XXXXXX", 1);
    make("d.XXXXXX", 0);
    mark();
    raise(SIGTERM);
}

// A process that begins by removing what others have left.
static void later(const void *unused)
{
    (void)unused;
    mark();
    make("d.XXXXXX", 1);
    die_of_kill();
}

// The child ends after its parent, and removes what both have made. First the parent is killed, or ends while the child
// lives; from some point on it is the child.
static void fork_and_end(const void *unused)
{
    (void)unused;
    int parent[2];
    char byte;
    make("d.XXXXXX", 1);
    CHECK(pipe2(parent, O_CLOEXEC) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(parent[1]);
        make("d.XXXXXX", 0);
        CHECK(read(parent[0], &byte, 1) == 0);
        exit(0);
    }
    mark();
    exit(0);
}

static void become(const char *role)
{
    make("d.XXXXXX", 1);
    mark();
    execl(self(), self(), ".", role, (char *)NULL);
    CHECK(0 && "exec");
}

// The new program makes nothing: its end is not seen.
static void exec_and_end(const void *unused)
{
    (void)unused;
    become("end");
}

static void exec_and_make(const void *unused)
{
    (void)unused;
    become("make");
}

static void end(const void *unused)
{
    (void)unused;
}

// The program that was started holds the directory when the maker exits. Its own end comes with the end of its input.
static void spawn_and_end(const void *unused)
{
    (void)unused;
    int in[2], out[2];
    char byte;
    pid_t pid;
    posix_spawn_file_actions_t actions;
    char *const arguments[] = { "spawned", ".", "wait", NULL };
    make("d.XXXXXX", 1);
    CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 && posix_spawn_file_actions_init(&actions) == 0);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    CHECK(posix_spawn(&pid, self(), &actions, NULL, arguments, environ) == 0 && read(out[0], &byte, 1) == 1);
    mark();
    exit(0);
}

static void wait_for_input(const void *unused)
{
    (void)unused;
    char byte;
    CHECK(write(1, "x", 1) == 1 && read(0, &byte, 1) == 0);
}

static const struct scenario scenarios[] = {
    { .name = "first", .victim = first, .signal = SIGKILL },
    { .name = "third", .victim = third, .signal = SIGKILL },
    { .name = "many", .victim = many, .signal = SIGKILL },
    { .name = "long_path", .victim = long_path, .signal = SIGKILL, .after = remove_levels },
    { .name = "again", .victim = again, .signal = SIGKILL },
    { .name = "mkdir", .victim = tracked, .signal = SIGKILL },
    { .name = "exit", .victim = by_exit },
    { .name = "signal", .victim = by_signal, .signal = SIGTERM },
    { .name = "sweep", .before = make_tree, .before_count = 2 },
    { .name = "later", .victim = later, .signal = SIGKILL, .before = make_tree, .before_count = 2 },
    { .name = "fork", .victim = fork_and_end },
    { .name = "exec", .victim = exec_and_end },
    { .name = "exec_and_make", .victim = exec_and_make },
    { .name = "spawn", .victim = spawn_and_end },
};

// What the programs above start.
static const struct scenario roles[] = {
    { .name = "end", .victim = end },
    { .name = "make", .victim = make_tree },
    { .name = "wait", .victim = wait_for_input },
};

int main(int argc, char **argv)
{
    void (*const ways[])(void) = { sweep, next_process };
    return kill_matrix(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios, ways, 2) ||
           play(argv[2], roles, sizeof roles / sizeof *roles) ? 0 : 1;
}
