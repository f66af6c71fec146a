// D2, D3: a thread is just making a directory or a file when another one ends the process, and in the same instant a child ends,
// which then may be the one that removes what both have left. What was only about to be made is made in time for the
// journal to say so, and does not stay on no record. Where each of the two took the other for one that lives on, it goes with the
// next program's first.
#include "victim.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>

enum { ROUNDS = 400 };

struct shared {
    atomic_int begun, is_over;
};

static void *make(void *shared)
{
    for (;;) {
        char dir[] = "d.XXXXXX";
        mkdtemp(dir);
        atomic_fetch_add(&((struct shared *)shared)->begun, 1);
        int fd = open(".", O_TMPFILE | O_RDWR, 0644);
        if (fd >= 0)
            close(fd);
        rmdir(dir);
    }
    return NULL;
}

static void play(const void *parameter)
{
    struct shared *shared = *(struct shared *const *)parameter;
    CHECK(setpgid(0, 0) == 0);
    // So that there is a journal before the child is.
    char dir[] = "d.XXXXXX";
    CHECK(mkdtemp(dir) && rmdir(dir) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        while (!atomic_load(&shared->is_over))
            sched_yield();
        exit(0);
    }
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, make, shared) == 0);
    while (atomic_load(&shared->begun) < 2)
        sched_yield();
    atomic_store(&shared->is_over, 1);
}

static void begin_to_track(const void *unused)
{
    (void)unused;
    char dir[] = "s.XXXXXX";
    CHECK(mkdtemp(dir) && rmdir(dir) == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    for (int n = 0; n < ROUNDS; n++) {
        *shared = (struct shared){ 0 };
        pid_t maker = start(play, &shared);
        int status = ended(maker);
        CHECKF(exited(status, 0), "round %d: status %#x", n, status);
        CHECKF(waitpid(-maker, &status, 0) > 0 && exited(status, 0), "round %d: the child", n);
        if (count_names(".", "d.") > 0)
            CHECK(exited(watch(begin_to_track, NULL), 0));
        CHECKF(count_names(".", "d.") == 0, "round %d: %d left", n, count_names(".", "d."));
    }
    return 0;
}
