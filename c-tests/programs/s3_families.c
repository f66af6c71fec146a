// S3, S4: processes with many threads that open with O_TMPFILE, and end in every way there is in the middle of it, again and
// again: whoever follows all of them from outside must miss nothing. Each comes to its own end, with its own status, stops
// and goes on when told to, and nobody hangs. `program DIR ROUNDS`: several of them at a time.
// Goes on for STORM_SECONDS, if that is set.
#include "check.h"

#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum { TOGETHER = 4, THREADS = 6 };

extern char **environ;
static const char *self, *directory;

// What all of them have done, so far as they come to say so.
static struct tally {
    atomic_long opens, processes, threads;
} *tally;

static void open_one(void)
{
    int fd = OPEN(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, "abc", 3) == 3 && close(fd) == 0);
    atomic_fetch_add(&tally->opens, 1);
}

static void *open_for_ever(void *begun)
{
    for (;;) {
        open_one();
        atomic_fetch_add((atomic_int *)begun, 1);
    }
    return NULL;
}

static void *open_twice(void *unused)
{
    (void)unused;
    open_one();
    open_one();
    return NULL;
}

static pthread_t begin(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, body, argument) == 0);
    atomic_fetch_add(&tally->threads, 1);
    return thread;
}

// All are in the middle of their opens.
static void open_meanwhile(atomic_int *begun)
{
    for (int thread = 0; thread < THREADS; thread++)
        begin(open_for_ever, begun);
    while (atomic_load(begun) < 2 * THREADS)
        usleep(100);
}

static void execute(const char *role)
{
    execl(self, self, directory, role, (char *)NULL);
    CHECK(!"executed");
}

static void *execute_leaf(void *unused)
{
    (void)unused;
    execute("leaf");
    return NULL;
}

static void reap(pid_t pid, int status)
{
    CHECK(pid > 0);
    atomic_fetch_add(&tally->processes, 1);
    CHECK(exit_of(pid) == status);
}

static void *fork_one(void *unused)
{
    (void)unused;
    pid_t pid = fork();
    if (pid == 0) {
        open_one();
        _exit(8);
    }
    reap(pid, 8);
    return NULL;
}

static void *start_one(void *vforks)
{
    char *const line[] = { (char *)self, (char *)directory, "leaf", NULL };
    pid_t pid = -1;
    if (vforks)
        pid = vfork();
    else
        CHECK(posix_spawn(&pid, self, NULL, NULL, line, environ) == 0);
    if (pid == 0) {
        execv(self, line);
        _exit(127);
    }
    reap(pid, 9);
    return NULL;
}

// What one of these processes does, and how it ends: as exit_of tells.
static atomic_int begun;

static void exits(void) { open_meanwhile(&begun); _exit(3); }
static void is_killed(void) { open_meanwhile(&begun); pause(); }
static void executes(void) { open_meanwhile(&begun); execute("leaf"); }

static void executes_from_a_thread(void)
{
    open_meanwhile(&begun);
    begin(execute_leaf, NULL);
    open_for_ever(&begun);
}

static void loses_its_leader(void)
{
    for (int thread = 0; thread < THREADS; thread++)
        begin(open_twice, NULL);
    syscall(SYS_exit, 0);
}

static void has_short_threads(void)
{
    for (int round = 0; round < 5; round++) {
        pthread_t threads[THREADS];
        for (int thread = 0; thread < THREADS; thread++)
            threads[thread] = begin(open_twice, NULL);
        for (int thread = 0; thread < THREADS; thread++)
            CHECK(pthread_join(threads[thread], NULL) == 0);
    }
    exit(4);
}

static void has_children(void)
{
    pthread_t threads[THREADS];
    for (int thread = 0; thread < THREADS; thread++)
        threads[thread] = thread % 2 ? begin(fork_one, NULL) : begin(start_one, thread % 4 ? &begun : NULL);
    for (int thread = 0; thread < THREADS; thread++)
        CHECK(pthread_join(threads[thread], NULL) == 0);
    exit(5);
}

static const struct kind {
    void (*body)(void);
    // Sent once it runs; stopping it comes first where `stops` is set.
    int signal, stops, status;
} kinds[] = {
    { .body = exits, .status = 3 },
    { .body = is_killed, .signal = SIGKILL, .status = 128 + SIGKILL },
    { .body = executes, .status = 9 },
    { .body = is_killed, .signal = SIGTERM, .stops = SIGSTOP, .status = 128 + SIGTERM },
    { .body = executes_from_a_thread, .status = 9 },
    { .body = loses_its_leader, .status = 0 },
    { .body = has_short_threads, .status = 4 },
    { .body = is_killed, .signal = SIGABRT, .status = 128 + SIGABRT },
    { .body = has_children, .status = 5 },
    { .body = is_killed, .signal = SIGKILL, .stops = SIGTSTP, .status = 128 + SIGKILL },
};

static void stop_and_continue(pid_t pid, int signal)
{
    int status;
    CHECK(kill(pid, signal) == 0);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == signal);
    CHECK(waitpid(pid, &status, WUNTRACED | WNOHANG) == 0);
    CHECK(kill(pid, SIGCONT) == 0);
    CHECK(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
}

static void one_family(long number)
{
    const struct kind *kind = &kinds[(unsigned long)number % (sizeof kinds / sizeof *kinds)];
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        // Whoever hangs ends with another status than it should.
        alarm(60);
        kind->body();
    }
    if (kind->stops)
        for (int times = 0; times < 3; times++) {
            usleep((useconds_t)(number * 7919 % 3000));
            stop_and_continue(pid, kind->stops);
        }
    if (kind->signal) {
        usleep((useconds_t)(number * 7919 % 5000));
        CHECK(kill(pid, kind->signal) == 0);
    }
    reap(pid, kind->status);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    self = "/proc/self/exe";
    directory = argv[1];
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(tally != MAP_FAILED);
    if (strcmp(argv[2], "leaf") == 0) {
        open_one();
        return 9;
    }
    long rounds = atol(argv[2]);
    const char *lasts = getenv("STORM_SECONDS");
    double end = seconds() + (lasts ? atof(lasts) : 0);
    int descriptors = count_names("/proc/self/fd", "");
    pid_t launchers[TOGETHER];
    for (int launcher = 0; launcher < TOGETHER; launcher++) {
        launchers[launcher] = fork();
        CHECK(launchers[launcher] >= 0);
        if (launchers[launcher] == 0) {
            for (long round = launcher; round < rounds || seconds() < end; round += TOGETHER)
                one_family(round);
            exit(0);
        }
    }
    for (int launcher = 0; launcher < TOGETHER; launcher++)
        CHECK(exit_of(launchers[launcher]) == 0);
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    CHECK(count_names("/proc/self/fd", "") == descriptors);
    long opens = atomic_load(&tally->opens), processes = atomic_load(&tally->processes), threads = atomic_load(&tally->threads);
    // A tracer is told twice of each open (before and after the call) and of each new process or thread (by it and its maker).
    printf("%ld opens, %ld processes, %ld threads: %ld stops of a tracer at least\n", opens, processes, threads,
           2 * (opens + processes + threads));
    return 0;
}
