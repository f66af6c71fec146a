// D3: a launcher forks, once or twice as daemons do, and exits; what is left starts another program only then. That program
// may still use what the launcher made, and holds it as one that was started before would.
#include "lives.h"

static int input[2];

// The last process of the chain: becomes cat when the launcher has gone.
static void start_late(void)
{
    live();
    dup2(input[0], 0);
    execl("/bin/cat", "cat", (char *)NULL);
    _exit(127);
}

static void launch(const void *forks)
{
    make_with_content((char[]) { "d.XXXXXX" });
    for (int left = *(const int *)forks; left > 0; left--) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid > 0) {
            atomic_store(&board->pid, pid);
            EVENTUALLY(atomic_load(&board->ready));
            exit(0);
        }
    }
    start_late();
}

static int is_cat(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    return holds(path, "cat\n");
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    observe();
    for (int turn = 0; turn < 4; turn++) {
        int forks = turn / 2 + 1;
        clear_board();
        CHECK(pipe2(input, O_CLOEXEC) == 0);
        CHECK(exited(watch(launch, &forks), 0));
        if (forks == 2)
            // The one between.
            CHECK(waitpid(-1, NULL, 0) > 0);
        check_held(1, "before it starts a program");
        atomic_store(&board->go, 1);
        pid_t pid = 0;
        for (DIR *d = opendir("/proc"); !pid || !is_cat(pid); rewinddir(d))
            for (struct dirent *e; (e = readdir(d)) && (!pid || !is_cat(pid));)
                pid = atoi(e->d_name);
        check_held(1, "with another program");
        close(input[0]);
        close(input[1]);
        CHECK(waitpid(-1, NULL, 0) > 0);
        check_gone_after_recovery("after it");
    }
    return 0;
}
