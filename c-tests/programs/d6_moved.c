// D6: a subdirectory is moved out of the tree while the removal is in it, to a place beside the canary. A removal that
// climbs back by ".." would then go on in the canary's parent.
#include "canary.h"

#include <stdatomic.h>
#include <sys/mman.h>

// Deeper than any removal keeps descriptors for, so that it has to climb.
#define DEPTH 30

static struct { atomic_int ready, stop, moves; char dir[16]; } *shared;

// A chain of directories, with the canary's name on each level, so that whatever is looked for is there to be found.
static void play(const void *unused)
{
    (void)unused;
    char dir[] = "d.XXXXXX";
    CHECK(mkdtemp(dir) == dir);
    int back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(chdir(dir) == 0);
    for (int i = 0; i < DEPTH; i++) {
        CHECK(mkdir("canary", 0700) == 0 && mkdir("next", 0700) == 0);
        for (int f = 0; f < 10; f++)
            put((char[]) { '0' + f, 0 }, "x");
        CHECK(chdir("next") == 0);
    }
    CHECK(fchdir(back) == 0);
    strcpy(shared->dir, dir);
    atomic_store(&shared->ready, 1);
}

static void attack(const void *unused)
{
    (void)unused;
    char path[256];
    while (!atomic_load(&shared->ready) && !atomic_load(&shared->stop))
        ;
    for (int i = 0; !atomic_load(&shared->stop); i++) {
        int n = snprintf(path, sizeof path, "%s", shared->dir);
        for (int level = 0; level <= i % DEPTH; level++)
            n += snprintf(path + n, sizeof path - n, "/next");
        if (rename(path, "park/away") == 0) {
            atomic_fetch_add(&shared->moves, 1);
            // Half of the time it stays away, as from an attacker who has what he wants.
            if (i % 2 && rename("park/away", path) != 0)
                return;
        }
    }
}

int main(int argc, char **argv)
{
    CHECK(argc > 2 && chdir(argv[1]) == 0);
    int rounds = atoi(argv[2]);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED && exited(watch(play, NULL), 0));
    GONE(count_names(".", "") == 0);

    CHECK(mkdir("park", 0700) == 0);
    hatch("park/canary");
    put("park/0", "beside");
    put("park/next", "beside");
    const char *before = portrait("park");
    for (int round = 0; round < rounds; round++) {
        atomic_store(&shared->ready, 0);
        atomic_store(&shared->stop, 0);
        pid_t attacker = start(attack, NULL);
        CHECK(exited(watch(play, NULL), 0));
        atomic_store(&shared->stop, 1);
        CHECK(exited(ended(attacker), 0));
        scrub("park/away");
        scrub(shared->dir);
        // The park's own time has changed with what came and went; everything in it has not.
        char *now = portrait("park");
        CHECKF(strcmp(strchr(now, '\n'), strchr(before, '\n')) == 0, "round %d", round);
        free(now);
        GONE(count_names("park", "") == 3 && count_names(".", "") == 1);
    }
    CHECK(atomic_load(&shared->moves) > 0);
    scrub("park");
    return 0;
}
