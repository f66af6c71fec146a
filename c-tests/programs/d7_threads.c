// D7: eight threads make a thousand directories each at once, while others fork and a handler of the program's makes one
// too; all of it goes, and nobody waits for a lock for ever.
#include "victim.h"

#include <pthread.h>

static pthread_barrier_t line;
static char from_handler[] = "h.XXXXXX";

static void *make(void *removes)
{
    char dir[16];
    pthread_barrier_wait(&line);
    for (int i = 0; i < 1000; i++) {
        strcpy(dir, "d.XXXXXX");
        CHECK(mkdtemp(dir) == dir);
        if (removes && i % 2)
            CHECK(rmdir(dir) == 0);
    }
    return NULL;
}

// A child forked in the middle of another thread's mkdtemp has that moment's state for ever. It makes and ends all the same.
static void *fork_often(void *unused)
{
    (void)unused;
    pthread_barrier_wait(&line);
    for (int i = 0; i < 100; i++) {
        char own[] = "own.XXXXXX";
        pid_t pid = fork();
        if (pid == 0) {
            if (i % 2 && mkdtemp(own) != own)
                _exit(1);
            if (i % 3 == 0)
                raise(SIGTERM);
            _exit(3);
        }
        int status = ended(pid);
        CHECKF(exited(status, 3) || killed(status, SIGTERM), "child %d: status %#x", i, status);
        CHECKF(count_names(".", "own.") == 0, "child %d", i);
    }
    return NULL;
}

// mkdtemp is not on the list of what a handler may call, but without the shim it works there.
static void in_handler(int sig)
{
    (void)sig;
    if (from_handler[7] == 'X')
        CHECK(mkdtemp(from_handler) == from_handler);
}

static void play(const void *end)
{
    pthread_t t[9];
    CHECK(signal(SIGUSR1, in_handler) == SIG_DFL && pthread_barrier_init(&line, NULL, 9) == 0);
    for (size_t i = 0; i < 8; i++)
        CHECK(pthread_create(&t[i], NULL, make, i % 2 ? "removes" : NULL) == 0);
    CHECK(pthread_create(&t[8], NULL, fork_often, NULL) == 0);
    usleep(5000);
    pthread_kill(t[0], SIGUSR1);
    for (int i = 0; i < 9; i++)
        pthread_join(t[i], NULL);
    CHECK(count_names(".", "d.") == 6000);
    if (end)
        raise(SIGTERM);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    CHECK(exited(watch(play, NULL), 0));
    CHECKF(count_names(".", "") == 0, "%d left", count_names(".", ""));
    CHECK(killed(watch(play, "end"), SIGTERM));
    CHECKF(count_names(".", "") == 0, "%d left", count_names(".", ""));
    return 0;
}
