// D3: a child that runs another program and is alive when its maker exits holds a directory, but not one that the maker has
// removed or given another name: then there is nothing to remember. The state directory must be empty afterwards, with no
// sweep.
#include "victim.h"

static void remove_it(const char *dir)
{
    CHECK(rmdir(dir) == 0);
}

static void rename_it(const char *dir)
{
    CHECK(rename(dir, "kept") == 0);
}

// Reads from a pipe that only its maker can write to, and so ends when that has ended.
static void leave_a_child(const void *how)
{
    char dir[] = "d.XXXXXX";
    int hold[2], started[2];
    CHECK(mkdtemp(dir) == dir);
    CHECK(pipe2(hold, O_CLOEXEC) == 0 && pipe2(started, O_CLOEXEC) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(hold[0], 0);
        execlp("cat", "cat", (char *)NULL);
        _exit(99);
    }
    // Closed by the exec.
    close(started[1]);
    char byte;
    CHECK(read(started[0], &byte, 1) == 0);
    (*(void (*const *)(const char *))how)(dir);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    void (*const hows[])(const char *) = { remove_it, rename_it };
    for (size_t i = 0; i < sizeof hows / sizeof *hows; i++)
        CHECKF(exited(watch(leave_a_child, &hows[i]), 0), "way %zu", i);
    CHECK(rmdir("kept") == 0 && count_names(".", "") == 0);
    return 0;
}
