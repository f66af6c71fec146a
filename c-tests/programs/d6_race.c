// D6: attackers of the same user swap parts of a directory for symbolic links to a canary, back and forth, while it is
// being removed, and the directory itself too. Whatever becomes of the directory, the canary lives.
#include "canary.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define PARTS 24

static struct { atomic_int ready, stop, swaps; char dir[16]; } *shared;

static void fill(const char *dir)
{
    for (int i = 0; i < PARTS; i++) {
        char part[64], file[80];
        snprintf(part, sizeof part, "%s/%d", dir, i);
        CHECK(mkdir(part, 0700) == 0);
        for (int f = 0; f < 12; f++) {
            // The names in the canary, so that a removal that has strayed there finds what it looks for.
            snprintf(file, sizeof file, "%s/%d", part, f);
            put(file, "x");
        }
        snprintf(file, sizeof file, "%s/sub", part);
        CHECK(mkdir(file, 0700) == 0);
    }
}

static void play(const void *end)
{
    char dir[] = "d.XXXXXX";
    CHECK(mkdtemp(dir) == dir);
    fill(dir);
    strcpy(shared->dir, dir);
    atomic_store(&shared->ready, 1);
    if (end)
        raise(SIGTERM);
}

// Moves a part out, puts a link to the canary there, takes that away again and moves the part back: every instant shows a
// removal something else. With RENAME_EXCHANGE there is not even an instant without a name.
static void swap(const char *part, const char *aside, const char *lure)
{
    if (syscall(SYS_renameat2, AT_FDCWD, part, AT_FDCWD, lure, 1 << 1 /* RENAME_EXCHANGE */) == 0) {
        syscall(SYS_renameat2, AT_FDCWD, part, AT_FDCWD, lure, 1 << 1);
        atomic_fetch_add(&shared->swaps, 1);
    }
    if (rename(part, aside) == 0) {
        if (symlink("../canary/sub", part) == 0) {
            atomic_fetch_add(&shared->swaps, 1);
            unlink(part);
        }
        rename(aside, part);
    }
}

static void attack(const void *whole)
{
    char part[64];
    while (!atomic_load(&shared->ready) && !atomic_load(&shared->stop))
        ;
    for (unsigned i = 0; !atomic_load(&shared->stop); i++) {
        if (whole && i % 8 == 0) {
            if (rename(shared->dir, "whole") == 0) {
                if (symlink("canary", shared->dir) == 0)
                    unlink(shared->dir);
                rename("whole", shared->dir);
            }
            continue;
        }
        snprintf(part, sizeof part, "%s/%u", shared->dir, i % PARTS);
        swap(part, "aside", "lure");
    }
}

int main(int argc, char **argv)
{
    CHECK(argc > 2 && chdir(argv[1]) == 0);
    int rounds = atoi(argv[2]);
    // Without attackers all of it goes.
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED && exited(watch(play, NULL), 0));
    GONE(count_names(".", "") == 0);

    const char *before = hatch("canary");
    for (int round = 0; round < rounds; round++) {
        atomic_store(&shared->ready, 0);
        atomic_store(&shared->stop, 0);
        CHECK(symlink("canary/sub", "lure") == 0);
        pid_t attacker = start(attack, round % 4 == 3 ? "whole" : NULL);
        int status = watch(play, round % 2 ? "end" : NULL);
        atomic_store(&shared->stop, 1);
        CHECK(exited(ended(attacker), 0));
        CHECKF(round % 2 ? killed(status, SIGTERM) : exited(status, 0), "round %d: status %#x", round, status);
        CHECKF(unharmed("canary", before), "round %d", round);
        scrub(shared->dir);
        scrub("aside");
        scrub("whole");
        scrub("lure");
        GONE(count_names(".", "") == 1, "round %d", round);
    }
    CHECK(atomic_load(&shared->swaps) > 0);
    // What could not be looked at in the middle of it is in a journal, which the next process finds (D5).
    CHECK(exited(watch(play, NULL), 0));
    scrub(shared->dir);
    scrub("canary");
    return 0;
}
