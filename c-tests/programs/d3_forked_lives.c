// D3: what was made before a fork is not removed while a forked process lives: a daemon whose parent exits, or is ended by
// a signal, keeps its directory. One that was only forked to start another program does not hold it.
#include "victim.h"

static char dir[] = "d.XXXXXX";
static int hold[2];

static void wait_for_the_end(void)
{
    char byte;
    close(hold[1]);
    if (read(hold[0], &byte, 1) == 0 && exists(dir))
        put("alive", "x");
    _exit(0);
}

static void daemonise(const void *how)
{
    CHECK(mkdtemp(dir) == dir);
    put("name", dir);
    if (fork() == 0)
        wait_for_the_end();
    close(hold[0]);
    close(hold[1]);
    if (*(const int *)how)
        raise(*(const int *)how);
}

static void start_a_program(const void *unused)
{
    (void)unused;
    CHECK(mkdtemp(dir) == dir);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("true", "true", (char *)NULL);
        _exit(99);
    }
    CHECK(exited(ended(pid), 0));
}

static void fork_one_that_ends(const void *unused)
{
    (void)unused;
    CHECK(mkdtemp(dir) == dir);
    pid_t pid = fork();
    if (pid == 0)
        _exit(3);
    CHECK(exited(ended(pid), 3));
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    const int hows[] = { 0, SIGTERM, SIGSEGV };
    for (size_t i = 0; i < sizeof hows / sizeof *hows; i++) {
        CHECK(pipe(hold) == 0);
        int status = watch(daemonise, &hows[i]);
        CHECKF(hows[i] ? killed(status, hows[i]) : exited(status, 0), "way %zu: status %#x", i, status);
        close(hold[0]);
        close(hold[1]);
        EVENTUALLY(exists("alive"));
        // Nobody is left to remove it.
        CHECK(unlink("alive") == 0 && unlink("name") == 0 && count_names(".", "d.") == 1);
        CHECK(system("rmdir d.*") == 0);
    }
    CHECK(exited(watch(start_a_program, NULL), 0) && count_names(".", "") == 0);
    CHECK(exited(watch(fork_one_that_ends, NULL), 0) && count_names(".", "") == 0);
    return 0;
}
