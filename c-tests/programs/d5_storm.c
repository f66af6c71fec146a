// D5, D7: a storm. Eight threads make directories and remove them, while three others fork children that make their own and
// end in every way, SIGKILL and exec included, and one sweep comes after the other. Nobody's directory goes while its maker
// lives, and after a last sweep nothing is left. STORM_SECONDS says for how long, by default five seconds.
#include "recover.h"

#include <pthread.h>
#include <stdatomic.h>

#define MAKERS 8
#define FORKERS 3
#define KEPT 40

static double deadline;

static struct {
    atomic_int rounds, children;
    // What the children tell, one at a time for each thread that forks: that there is a directory, and where.
    struct { char path[32]; atomic_int ready; } told[FORKERS];
} *shared;

// There with its content, until the end of this process or its own removal.
static int is_whole(const char *dir)
{
    return holds(in(dir, "content"), "x");
}

static void make(char *templat)
{
    CHECK(mkdtemp(templat) == templat);
    put(in(templat, "content"), "x");
}

static void make_and_remove(const char *templat)
{
    char dir[32];
    strcpy(dir, templat);
    make(dir);
    CHECKF(is_whole(dir), "%s", dir);
    CHECKF(unlink(in(dir, "content")) == 0 && rmdir(dir) == 0, "%s", dir);
}

static void *make_often(void *unused)
{
    (void)unused;
    char kept[KEPT][32];
    int count = 0;
    while (seconds() < deadline) {
        make_and_remove("t.XXXXXX");
        if (atomic_fetch_add(&shared->rounds, 1) % 50 == 0 && count < KEPT)
            make(strcpy(kept[count++], "k.XXXXXX"));
    }
    for (int i = 0; i < count; i++)
        CHECKF(is_whole(kept[i]), "%s", kept[i]);
    return NULL;
}

static volatile sig_atomic_t signals;

static void on_signal(int sig)
{
    (void)sig;
    signals++;
}

enum end { EXIT, EXIT_LOW, TERM, KILL, EXEC, SIGNALS, NOTHING, ENDS };

static void child(enum end how, char *path, atomic_int *ready)
{
    if (how == NOTHING)
        _exit(3);
    if (how == SIGNALS && signal(SIGUSR1, on_signal) == SIG_ERR)
        _exit(1);
    strcpy(path, "c.XXXXXX");
    make(path);
    atomic_store(ready, 1);
    while (how == SIGNALS && signals < 3)
        make_and_remove("s.XXXXXX");
    if (!is_whole(path))
        _exit(2);
    switch (how) {
    case EXIT: exit(3);
    case TERM: raise(SIGTERM); break;
    case KILL: raise(SIGKILL); break;
    case EXEC: execl("/bin/true", "true", (char *)NULL); break;
    default: _exit(3);
    }
    _exit(1);
}

static void *fork_often(void *number)
{
    size_t forker = (size_t)number;
    char *path = shared->told[forker].path;
    atomic_int *ready = &shared->told[forker].ready;
    for (unsigned i = 0; seconds() < deadline; i++) {
        enum end how = (i + forker) % ENDS;
        int status = 0;
        atomic_store(ready, 0);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0)
            child(how, path, ready);
        while (how == SIGNALS && waitpid(pid, &status, WNOHANG) == 0) {
            if (atomic_load(ready))
                kill(pid, SIGUSR1);
            usleep(500);
        }
        if (how != SIGNALS)
            status = ended(pid);
        CHECKF(how == TERM ? killed(status, SIGTERM) : how == KILL ? killed(status, SIGKILL) :
               exited(status, how == EXEC ? 0 : 3), "end %d: status %#x", how, status);
        // What is killed, or becomes another program, is for others to clean up behind.
        CHECKF(how == KILL || how == EXEC || how == NOTHING || !exists(path), "end %d: %s", how, path);
        atomic_fetch_add(&shared->children, 1);
    }
    return NULL;
}

static void storm(const void *end)
{
    pthread_t threads[MAKERS + FORKERS];
    for (size_t i = 0; i < MAKERS + FORKERS; i++)
        CHECK(pthread_create(&threads[i], NULL, i < MAKERS ? make_often : fork_often, (void *)(i - MAKERS)) == 0);
    for (size_t i = 0; i < MAKERS + FORKERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(count_names(".", "t.") == 0 && count_names(".", "s.") == 0 && count_names(".", "k.") > 0);
    if (end)
        raise(*(const int *)end);
}

int main(int argc, char **argv)
{
    const char *limit = getenv("STORM_SECONDS");
    const int ends[] = { SIGTERM, SIGKILL };
    int sweeps = 0;
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    alone();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    double part = (limit ? atof(limit) : 5) / 3;
    for (int i = -1; i < 2; i++) {
        int status;
        deadline = seconds() + part;
        pid_t pid = start(storm, i < 0 ? NULL : &ends[i]);
        for (; waitpid(pid, &status, WNOHANG) == 0; sweeps++)
            sweep();
        CHECKF(i < 0 ? exited(status, 0) : killed(status, ends[i]), "status %#x", status);
        CHECK(i == 1 || count_names(".", "k.") == 0);
        sweep();
        CHECKF(count_names(".", "") == 0, "%d are left", count_names(".", ""));
        CHECKF(journals() == 0, "%d journals", journals());
    }
    int rounds = atomic_load(&shared->rounds), children = atomic_load(&shared->children);
    CHECKF(rounds > 100 && children > 2 * ENDS && sweeps > 3, "only %d, %d, %d", rounds, children, sweeps);
    printf("%d directories, %d children, %d sweeps\n", rounds, children, sweeps);
    return 0;
}
