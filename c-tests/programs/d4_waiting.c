// D4: signals that a program takes without a handler, or not yet: blocked, pending, waited for, stopped.
#include "victim.h"

#include <poll.h>
#include <pthread.h>
#include <sys/signalfd.h>

static char dir[] = "d.XXXXXX";

static sigset_t term(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    CHECK(pthread_sigmask(how, &set, NULL) == 0);
    return set;
}

static void pending_at_exit(const void *unused)
{
    (void)unused;
    CHECK(mkdtemp(dir) == dir);
    term(SIG_BLOCK);
    kill(getpid(), SIGTERM);
    exit(3);
}

static void pending_before_directory(const void *unused)
{
    (void)unused;
    term(SIG_BLOCK);
    kill(getpid(), SIGTERM);
    CHECK(mkdtemp(dir) == dir && exists(dir));
    term(SIG_UNBLOCK);
}

static void *wait_for_term(void *unused)
{
    (void)unused;
    int sig = 0;
    sigset_t set = term(SIG_BLOCK);
    CHECK(sigwait(&set, &sig) == 0 && sig == SIGTERM);
    return NULL;
}

// The usual shape of a threaded server: everything blocked, one thread waits.
static void waited_for(const void *unused)
{
    (void)unused;
    pthread_t t;
    CHECK(mkdtemp(dir) == dir);
    term(SIG_BLOCK);
    CHECK(pthread_create(&t, NULL, wait_for_term, NULL) == 0);
    CHECK(kill(getpid(), SIGTERM) == 0 && pthread_join(t, NULL) == 0);
    CHECK(exists(dir));
    exit(3);
}

static void by_descriptor(const void *unused)
{
    (void)unused;
    struct signalfd_siginfo info;
    sigset_t set = term(SIG_BLOCK);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    CHECK(mkdtemp(dir) == dir);
    CHECK(fd >= 0 && kill(getpid(), SIGTERM) == 0 && read(fd, &info, sizeof info) == sizeof info);
    CHECK(info.ssi_signo == SIGTERM && exists(dir));
    exit(3);
}

// The signal gets through only in these calls, and then nothing handles it but the shim.
static void in_sigsuspend(const void *unused)
{
    (void)unused;
    sigset_t none;
    sigemptyset(&none);
    CHECK(mkdtemp(dir) == dir);
    term(SIG_BLOCK);
    kill(getpid(), SIGTERM);
    CHECK(exists(dir));
    sigsuspend(&none);
}

static void in_ppoll(const void *unused)
{
    (void)unused;
    sigset_t none;
    sigemptyset(&none);
    CHECK(mkdtemp(dir) == dir);
    term(SIG_BLOCK);
    kill(getpid(), SIGTERM);
    ppoll(NULL, 0, NULL, &none);
}

static void stopped(const void *unused)
{
    (void)unused;
    CHECK(mkdtemp(dir) == dir);
    // A process group that is an orphan is never stopped by the terminal's signals: this one has its parent outside.
    raise(SIGTSTP);
    CHECK(exists(dir));
    raise(SIGSTOP);
    CHECK(exists(dir));
    raise(SIGCHLD);
    raise(SIGURG);
    raise(SIGWINCH);
    raise(SIGCONT);
    CHECK(exists(dir));
    raise(SIGTERM);
}

static void own_group(const void *unused)
{
    setpgid(0, 0);
    stopped(unused);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    part *to_exit[] = { pending_at_exit, waited_for, by_descriptor };
    for (size_t i = 0; i < 3; i++) {
        CHECKF(exited(watch(to_exit[i], NULL), 3), "way %zu", i);
        CHECKF(count_names(".", "") == 0, "way %zu", i);
    }
    part *to_term[] = { pending_before_directory, in_sigsuspend, in_ppoll };
    for (size_t i = 0; i < 3; i++) {
        CHECKF(killed(watch(to_term[i], NULL), SIGTERM), "way %zu", i);
        CHECKF(count_names(".", "") == 0, "way %zu", i);
    }

    pid_t pid = start(own_group, NULL);
    const int stops[] = { SIGTSTP, SIGSTOP };
    for (int i = 0; i < 2; i++) {
        int status;
        CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == stops[i]);
        CHECK(count_names(".", "") == 1 && kill(pid, SIGCONT) == 0);
    }
    CHECK(killed(ended(pid), SIGTERM) && count_names(".", "") == 0);
    return 0;
}
