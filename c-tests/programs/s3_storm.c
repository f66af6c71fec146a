// S3: 64 threads open with O_TMPFILE while signals fly: SIGURG to every thread, SIGCHLD from children that end, and queued
// ones that count. No open fails, each queued signal arrives once and in the order it was sent, and nothing is left open.
// `program DIR OPENS [restart]`: so many for each thread.
// With "restart" all handlers let calls go on: a call that waits for a supervisor to look at it is one that signals end.
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/prctl.h>

enum { THREADS = 64, SENDERS = 2, AHEAD = 8 };

static const char *directory;
static long opens;
static pid_t tids[THREADS];
static atomic_int working = THREADS, errors;
static atomic_long urgent, ended, forked;
// By sender and thread. The last sender's go to the process, and whichever thread has them says so.
static atomic_int sent[SENDERS][THREADS], seen[SENDERS][THREADS];
static atomic_int sent_to_all, seen_by_all, last_by_all;
static _Thread_local int own;

// As a handler can: what is wrong is only counted.
static void on_queued(int sig, siginfo_t *info, void *context)
{
    (void)context;
    int sender = sig - SIGRTMIN, number = info->si_value.sival_int;
    if (info->si_code != SI_QUEUE || info->si_pid != getpid() || number != atomic_fetch_add(&seen[sender][own], 1) + 1)
        atomic_fetch_add(&errors, 1);
}

// Each waits for the one before: the sum tells whether one came twice or was another.
static void on_queued_to_all(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    atomic_store(&last_by_all, info->si_value.sival_int);
    atomic_fetch_add(&seen_by_all, 1);
}

static void on_urgent(int sig)
{
    (void)sig;
    atomic_fetch_add(&urgent, 1);
}

static void on_child(int sig)
{
    (void)sig;
    int before = errno, status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        atomic_fetch_add(&ended, 1);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
            atomic_fetch_add(&errors, 1);
    }
    errno = before;
}

static void handle(int sig, void (*handler)(int), void (*with_value)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = { .sa_flags = flags };
    if (with_value)
        action.sa_sigaction = with_value;
    else
        action.sa_handler = handler;
    CHECK(sigaction(sig, &action, NULL) == 0);
}

static void *open_files(void *number)
{
    own = (int)(intptr_t)number;
    tids[own] = (pid_t)syscall(SYS_gettid);
    char text[4];
    for (long round = 0; round < opens; round++) {
        int fd = OPEN(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        CHECK(fd >= 0);
        CHECK(write(fd, &own, sizeof own) == sizeof own);
        CHECK(pread(fd, text, sizeof text, 0) == sizeof text && memcmp(text, &own, sizeof text) == 0);
        CHECK(close(fd) == 0);
    }
    atomic_fetch_sub(&working, 1);
    // Lives on, so that whatever is still on its way arrives.
    while (atomic_load(&working) >= 0)
        usleep(1000);
    return NULL;
}

static int queue(pid_t thread, int sig, int value)
{
    siginfo_t info = { .si_signo = sig, .si_code = SI_QUEUE };
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_int = value;
    return (int)syscall(SYS_rt_tgsigqueueinfo, getpid(), thread, sig, &info);
}

static void *send_queued(void *number)
{
    int sender = (int)(intptr_t)number;
    while (atomic_load(&working) > 0) {
        for (int thread = 0; thread < THREADS; thread++) {
            int next = atomic_load(&sent[sender][thread]) + 1;
            // Not more than a queue holds.
            if (tids[thread] && next - atomic_load(&seen[sender][thread]) <= AHEAD &&
                queue(tids[thread], SIGRTMIN + sender, next) == 0)
                atomic_store(&sent[sender][thread], next);
        }
        int next = atomic_load(&sent_to_all) + 1;
        if (sender == 0 && next == atomic_load(&seen_by_all) + 1 &&
            sigqueue(getpid(), SIGRTMIN + SENDERS, (union sigval){ .sival_int = next }) == 0)
            atomic_store(&sent_to_all, next);
        usleep(20000);
    }
    return NULL;
}

static void *send_urgent(void *unused)
{
    (void)unused;
    while (atomic_load(&working) > 0) {
        for (int thread = 0; thread < THREADS; thread++)
            if (tids[thread])
                CHECK(syscall(SYS_tgkill, getpid(), tids[thread], SIGURG) == 0);
        usleep(20000);
    }
    return NULL;
}

static void *have_children(void *unused)
{
    (void)unused;
    while (atomic_load(&working) > 0) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0)
            _exit(7);
        atomic_fetch_add(&forked, 1);
        usleep(2000);
    }
    return NULL;
}

static int all_have_arrived(void)
{
    for (int sender = 0; sender < SENDERS; sender++)
        for (int thread = 0; thread < THREADS; thread++)
            if (atomic_load(&seen[sender][thread]) < atomic_load(&sent[sender][thread]))
                return 0;
    return atomic_load(&seen_by_all) == atomic_load(&sent_to_all) && atomic_load(&ended) == atomic_load(&forked);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3 || argc == 4);
    int restart = argc == 4 ? SA_RESTART : 0;
    directory = argv[1];
    opens = atol(argv[2]);
    int descriptors = count_names("/proc/self/fd", "");
    handle(SIGURG, on_urgent, NULL, SA_RESTART);
    handle(SIGCHLD, on_child, NULL, SA_RESTART);
    // Without SA_RESTART, too, since natively an open of a file is not one of the calls that a signal ends.
    for (int sender = 0; sender < SENDERS; sender++)
        handle(SIGRTMIN + sender, NULL, on_queued, SA_SIGINFO | restart);
    handle(SIGRTMIN + SENDERS, NULL, on_queued_to_all, SA_SIGINFO | restart);

    pthread_t threads[THREADS], others[SENDERS + 2];
    pthread_attr_t small;
    CHECK(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, 256 << 10) == 0);
    for (intptr_t thread = 0; thread < THREADS; thread++)
        CHECK(pthread_create(&threads[thread], &small, open_files, (void *)thread) == 0);
    sigset_t all;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_BLOCK, &all, NULL) == 0);
    for (intptr_t sender = 0; sender < SENDERS; sender++)
        CHECK(pthread_create(&others[sender], NULL, send_queued, (void *)sender) == 0);
    CHECK(pthread_create(&others[SENDERS], NULL, send_urgent, NULL) == 0);
    CHECK(pthread_create(&others[SENDERS + 1], NULL, have_children, NULL) == 0);
    for (int other = 0; other < SENDERS + 2; other++)
        CHECK(pthread_join(others[other], NULL) == 0);
    EVENTUALLY(all_have_arrived());
    atomic_store(&working, -1);
    for (int thread = 0; thread < THREADS; thread++)
        CHECK(pthread_join(threads[thread], NULL) == 0);

    long queued = atomic_load(&seen_by_all);
    CHECK(atomic_load(&errors) == 0 && atomic_load(&last_by_all) == queued && all_have_arrived());
    for (int sender = 0; sender < SENDERS; sender++)
        for (int thread = 0; thread < THREADS; thread++)
            queued += atomic_load(&seen[sender][thread]);
    CHECK(queued > 0 && atomic_load(&urgent) > 0 && atomic_load(&ended) > 0);
    CHECK(count_names("/proc/self/fd", "") == descriptors);
    printf("%ld opens, %ld queued signals, %ld SIGURG, %ld children\n", THREADS * opens, queued, atomic_load(&urgent),
           atomic_load(&ended));
    return 0;
}
