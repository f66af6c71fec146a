// D3: a server with eight workers, each with a directory of its own beside the master's. A worker's goes when the worker
// ends, the master's when the last of them all ends, however they race.
#include "lives.h"

#define WORKERS 8
#define RACES 50

// A byte lets one worker go, the end of the pipe all of them.
static int gate[2];

static int serve(int number)
{
    char byte;
    make_with_content((char[]) { "w.XXXXXX" });
    close(gate[1]);
    atomic_fetch_add(&board->ready, 1);
    CHECK(read(gate[0], &byte, 1) >= 0);
    switch (number % 4) {
    case 0: exit(3);
    case 1: _exit(3);
    case 2: raise(SIGTERM);
    }
    return 3;
}

// Returns what main is to return: 4 for the master, 3 for a worker.
static int be_master(void)
{
    CHECK(setpgid(0, 0) == 0);
    make_with_content((char[]) { "m.XXXXXX" });
    for (int i = 0; i < WORKERS; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0)
            return serve(i);
    }
    close(gate[0]);
    close(gate[1]);
    wait_to_go();
    return 4;
}

// The master, with all its workers there; 0 in a process that is to return from main, with that status.
static pid_t start_server(int *status)
{
    clear_board();
    CHECK(pipe2(gate, O_CLOEXEC) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        *status = be_master();
        return 0;
    }
    close(gate[0]);
    EVENTUALLY(atomic_load(&board->ready) == WORKERS);
    CHECK(count_names(".", "w.") == WORKERS && count_names(".", "m.") == 1);
    return pid;
}

// Orphans and the master alike.
static void wait_for_all(void)
{
    while (waitpid(-1, NULL, 0) > 0)
        ;
    CHECK(errno == ECHILD);
}

int main(int argc, char **argv)
{
    int status;
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    observe();

    // One after the other, the master last.
    pid_t master = start_server(&status);
    if (master == 0)
        return status;
    for (int left = WORKERS; left-- > 0;) {
        CHECK(write(gate[1], "x", 1) == 1);
        EVENTUALLY(count_names(".", "w.") == left);
        CHECK(count_names(".", "m.") == 1);
    }
    check_held(1, "master alone");
    close(gate[1]);
    atomic_store(&board->go, 1);
    CHECK(exited(ended(master), 4));
    check_gone("master last");

    // The master first, in any way, and then all the workers at once.
    for (int race = 0; race < RACES; race++) {
        master = start_server(&status);
        if (master == 0)
            return status;
        const int signals[] = { 0, SIGTERM, SIGKILL };
        if (signals[race % 3])
            kill(master, signals[race % 3]);
        else
            atomic_store(&board->go, 1);
        ended(master);
        CHECKF(count_names(".", "") == WORKERS + 1, "race %d: %d directories", race, count_names(".", ""));
        close(gate[1]);
        wait_for_all();
        check_gone("workers last");
    }

    // One signal for all of them, the master included.
    for (int race = 0; race < RACES; race++) {
        master = start_server(&status);
        if (master == 0)
            return status;
        kill(-master, SIGTERM);
        wait_for_all();
        close(gate[1]);
        check_gone("all at once");
    }
    return 0;
}
