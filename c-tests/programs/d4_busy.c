// D4: an end that meets another end. A signal in the middle of a removal, several at once, from many threads: all of it is
// gone when the process is, and the process ends by one of the ways it was told to.
#include "victim.h"

#include <pthread.h>

#define ENTRIES 10000

static char dir[] = "d.XXXXXX";
static int ready[2];

static void fill(void)
{
    CHECK(mkdtemp(dir) == dir && chdir(dir) == 0);
    for (int i = 0; i < ENTRIES; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        CHECK(mknod(name, S_IFREG | 0600, 0) == 0);
    }
    CHECK(chdir("..") == 0);
    CHECK(write(ready[1], dir, sizeof dir) == sizeof dir);
}

static void by_exit(const void *unused) { (void)unused; fill(); exit(3); }
static void by_term(const void *unused) { (void)unused; fill(); raise(SIGTERM); }
static void by_fault(const void *unused) { (void)unused; fill(); raise(SIGSEGV); }

// Waits until the removal has begun, then sends these.
static int interrupt(part *victim, const int *signals)
{
    char name[sizeof dir];
    CHECK(pipe(ready) == 0);
    pid_t pid = start(victim, NULL);
    close(ready[1]);
    CHECK(read(ready[0], name, sizeof name) == sizeof name);
    close(ready[0]);
    for (int left = ENTRIES; left == ENTRIES;) {
        DIR *d = opendir(name);
        if (!d)
            break;
        left = 0;
        while (readdir(d))
            left++;
        left = left >= ENTRIES + 2 ? ENTRIES : left;
        closedir(d);
        siginfo_t end = { 0 };
        CHECK(waitid(P_PID, pid, &end, WEXITED | WNOHANG | WNOWAIT) == 0);
        if (end.si_pid == pid)
            break;
    }
    for (; *signals; signals++)
        kill(pid, *signals);
    return ended(pid);
}

static void *spin(void *unused)
{
    (void)unused;
    // Threads in the middle of malloc and stdio: an unsafe call on the way out would wait for their locks.
    for (;;) {
        free(malloc(100));
        FILE *f = fopen("/dev/null", "w");
        if (f) {
            fputs("busy", f);
            fclose(f);
        }
    }
    return NULL;
}

static void *end_one_way(void *n)
{
    size_t i = (size_t)n;
    if (i % 2)
        raise(i % 4 == 1 ? SIGTERM : SIGINT);
    else if (i == 0)
        exit(3); // once: a second exit() beside the first is undefined
    _exit(3);
}

static void with_threads(const void *ends)
{
    pthread_t t;
    CHECK(mkdtemp(dir) == dir);
    for (int i = 0; i < 20; i++)
        put(in(dir, (char[]) { 'a' + i, 0 }), "x");
    for (int i = 0; i < 16; i++)
        CHECK(pthread_create(&t, NULL, spin, NULL) == 0);
    if (!ends) {
        usleep(2000);
        raise(SIGTERM);
    }
    for (size_t i = 0; i < 8; i++)
        pthread_create(&t, NULL, end_one_way, (void *)i);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    const int once[] = { SIGTERM, 0 }, many[] = { SIGTERM, SIGINT, SIGHUP, SIGTERM, SIGUSR1, SIGQUIT, SIGALRM, 0 };
    const int *const volleys[] = { once, many };
    part *victims[] = { by_exit, by_term, by_fault };
    for (int round = 0; round < 6; round++) {
        int status = interrupt(victims[round % 3], volleys[round / 3]);
        // An exit code, or one of the signals: which end came first is for the kernel to say.
        CHECKF(exited(status, 3) || (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL), "round %d: %#x", round, status);
        CHECKF(round % 3 != 2 || WIFSIGNALED(status), "round %d: %#x", round, status);
        CHECKF(count_names(".", "") == 0, "round %d", round);
    }
    for (int round = 0; round < 20; round++) {
        CHECK(killed(watch(with_threads, NULL), SIGTERM));
        CHECKF(count_names(".", "") == 0, "threads, round %d", round);
        int status = watch(with_threads, "ends");
        CHECKF(exited(status, 3) || killed(status, SIGTERM) || killed(status, SIGINT), "ends, round %d: %#x", round, status);
        CHECKF(count_names(".", "") == 0, "ends, round %d", round);
    }
    return 0;
}
