// The kill matrix (D5, T5): scenarios, each killed at every system call in turn, and recovered from. Afterwards nothing is
// left of it, whichever instant it was.
#ifndef KILL_POINTS_H
#define KILL_POINTS_H

#include "canary.h"
#include "kill.h"
#include "recover.h"

struct scenario {
    const char *name;
    // What the killed program does, as this program in the role of that name; NULL for `tmpshim sweep`.
    part *victim;
    // How it ends when nobody kills it: by this signal, or with status 0.
    int signal;
    // What processes that were killed before have left, and how many of them.
    part *before;
    int before_count;
    // Looks at what the scenario itself may leave, and removes it.
    void (*after)(void);
};

static void die_of_kill(void)
{
    kill(getpid(), SIGKILL);
    pause();
}

// Seen from within each run's directory.
static char canary[PATH_MAX];

static void check_that_nothing_is_left(const struct scenario *scenario, long n, const char *words, const char *picture)
{
    // A FUSE server hears of a file's last user later.
    for (double deadline = seconds() + 5; count_names(".", "") > 0 && seconds() < deadline;)
        usleep(1000);
    CHECKF(count_names(".", "") == 0, "%s, stop %ld (%s): %d names are left", scenario->name, n, words,
           count_names(".", ""));
    CHECKF(unharmed(canary, picture), "%s, stop %ld (%s): canary", scenario->name, n, words);
    CHECKF(journals() == 0, "%s, stop %ld (%s): %d journals", scenario->name, n, words, journals());
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    CHECKF(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "%s, stop %ld (%s): a process", scenario->name, n, words);
}

static void try_every_point(const struct scenario *scenario, void (*const *ways)(void), size_t count)
{
    const char *const victim[] = { self(), ".", scenario->name, NULL };
    const char *const sweeping[] = { command(), "sweep", "--state-dir", state(), NULL };
    CHECK(getcwd(canary, sizeof canary - 16) != NULL);
    strcat(canary, "/canary");
    char *picture = hatch(canary);
    // A handler for every signal takes hundreds of calls, each of them two stops of a traced program. Exec keeps this.
    EVERY_DEADLY_SIGNAL(sig)
        if (sig != SIGTERM)
            signal(sig, SIG_IGN);
    struct killing killing = { .reached = 1 };
    int left = 0;
    long n = 0;
    while (killing.reached) {
        n++;
        CHECK(mkdir("run", 0755) == 0 && chdir("run") == 0);
        leave_behind(scenario->before, scenario->before_count);
        killing = scenario->victim ? kill_at(n, "-mq", victim) : kill_at(n, "-q", sweeping);
        left += killing.reached && journals() > 0;
        // Every way gets its share of the points before a call, and of those after.
        ways[(size_t)n / 2 % count]();
        if (scenario->after)
            scenario->after();
        check_that_nothing_is_left(scenario, n, killing.words, picture);
        CHECK(chdir("..") == 0 && rmdir("run") == 0);
    }
    // The last run was not killed by kill_at: the scenario has come to its own end.
    char end[64];
    snprintf(end, sizeof end, scenario->signal ? "ended by signal %d after" : "ended with status %d after", scenario->signal);
    CHECKF(strncmp(killing.words, end, strlen(end)) == 0, "%s: %s", scenario->name, killing.words);
    CHECKF(n > 1 && left > 0, "%s: shows nothing", scenario->name);
    printf("%s: %ld kill points, %d of them with something left\n", scenario->name, n - 1, left);
    fflush(stdout);
    free(picture);
    scrub(canary);
}

// Plays the victim of that name; false if there is none.
static int play(const char *name, const struct scenario *scenarios, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (scenarios[i].victim && strcmp(scenarios[i].name, name) == 0) {
            scenarios[i].victim(NULL);
            return 1;
        }
    return 0;
}

// What main is: the matrix, each scenario recovered from in the given ways by turns, or the victim that argv[2] names.
// False where that is none of them.
static int kill_matrix(int argc, char **argv, const struct scenario *scenarios, size_t count, void (*const *ways)(void),
                       size_t ways_count)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    if (argc > 2)
        return play(argv[2], scenarios, count);
    alone();
    for (size_t i = 0; i < count; i++)
        try_every_point(&scenarios[i], ways, ways_count);
    return 1;
}

#endif
