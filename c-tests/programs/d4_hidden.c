// D4: whatever a program asks about its signals, it gets the answer it would get without the shim. The same questions are
// put in a process that has made a directory and in one that has not, for every signal and through every function; the
// answers must be equal to the last bit.
#include "victim.h"

#include <sys/mman.h>

#define ANSWERS 64

struct answers {
    int count;
    struct {
        const char *question;
        long value[4];        // handler or result, flags, mask, errno
    } of[ANSWERS];
};

static void own(int sig) { (void)sig; }
static void own_info(int sig, siginfo_t *info, void *context) { (void)sig; (void)info; (void)context; }

static void note(struct answers *a, const char *question, long value, const struct sigaction *old)
{
    long mask = 0;
    int error = errno;
    CHECK(a->count < ANSWERS);
    if (old)
        memcpy(&mask, &old->sa_mask, sizeof mask);
    a->of[a->count].question = question;
    a->of[a->count].value[0] = old ? (long)old->sa_handler : value;
    a->of[a->count].value[1] = old ? old->sa_flags : 0;
    a->of[a->count].value[2] = mask;
    a->of[a->count++].value[3] = value == -1 ? error : 0;
}

static void ask(struct answers *a, const char *question, int sig, const struct sigaction *new)
{
    struct sigaction old;
    memset(&old, 0, sizeof old);
    note(a, question, sigaction(sig, new, &old), &old);
}

#define NOTE(call) note(a, #call, (long)(call), NULL)

// Old interfaces are deprecated; legacy binaries are what this is about.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
extern __typeof__(signal) bsd_signal, __sysv_signal;

static void interrogate(struct answers *a, int sig)
{
    struct sigaction set = { 0 };
    ask(a, "at first", sig, NULL);
    NOTE(signal(sig, SIG_DFL));
    ask(a, "after signal", sig, NULL);

    set.sa_handler = SIG_DFL;
    set.sa_flags = SA_RESTART | SA_NODEFER;
    sigaddset(&set.sa_mask, SIGUSR2);
    ask(a, "default with flags and mask", sig, &set);
    ask(a, "read back", sig, NULL);

    set.sa_handler = own;
    set.sa_flags = SA_ONSTACK;
    ask(a, "own handler", sig, &set);
    ask(a, "read back", sig, NULL);
    set.sa_sigaction = own_info;
    set.sa_flags = SA_SIGINFO | SA_RESETHAND;
    ask(a, "own handler with information", sig, &set);
    ask(a, "read back", sig, NULL);
    set.sa_handler = SIG_IGN;
    ask(a, "ignored", sig, &set);
    set.sa_handler = SIG_DFL;
    set.sa_flags = 0;
    sigemptyset(&set.sa_mask);
    ask(a, "default again", sig, &set);
    ask(a, "read back", sig, NULL);

    NOTE(signal(sig, own));
    ask(a, "after signal", sig, NULL);
    NOTE(signal(sig, SIG_IGN));
    NOTE(signal(sig, SIG_DFL));
    NOTE(bsd_signal(sig, own));
    NOTE(bsd_signal(sig, SIG_DFL));
    NOTE(__sysv_signal(sig, SIG_DFL));
    NOTE(__sysv_signal(sig, own));
    ask(a, "after sysv_signal", sig, NULL);
    NOTE(__sysv_signal(sig, SIG_DFL));
    ask(a, "after sysv_signal", sig, NULL);
#ifdef __GLIBC__
    NOTE(ssignal(sig, own));
    NOTE(ssignal(sig, SIG_DFL));
    NOTE(sysv_signal(sig, own));
    NOTE(sysv_signal(sig, SIG_DFL));
    extern __typeof__(sigaction) __sigaction;
    struct sigaction old = { 0 };
    note(a, "__sigaction", __sigaction(sig, NULL, &old), &old);
#endif
    NOTE(sigset(sig, SIG_DFL));
    ask(a, "after sigset", sig, NULL);
    NOTE(sigset(sig, SIG_HOLD));
    ask(a, "after sigset SIG_HOLD", sig, NULL);
    NOTE(sigset(sig, own));
    NOTE(sigset(sig, SIG_DFL));
    NOTE(sigignore(sig));
    ask(a, "after sigignore", sig, NULL);
    NOTE(sigset(sig, SIG_DFL));
    NOTE(sighold(sig));
    NOTE(sigrelse(sig));
    NOTE(siginterrupt(sig, 1));
    ask(a, "after siginterrupt", sig, NULL);
    NOTE(siginterrupt(sig, 0));
    ask(a, "after siginterrupt", sig, NULL);

    sigset_t mask, pending;
    long word[2] = { 0 };
    CHECK(sigprocmask(SIG_SETMASK, NULL, &mask) == 0 && sigpending(&pending) == 0);
    memcpy(&word[0], &mask, sizeof word[0]);
    memcpy(&word[1], &pending, sizeof word[1]);
    note(a, "mask", word[0], NULL);
    note(a, "pending", word[1], NULL);
}

// What is no signal, or may not be set, is refused in the same words.
static void refusals(struct answers *a, int sig)
{
    struct sigaction set = { .sa_handler = SIG_DFL };
    ask(a, "a query", sig, NULL);
    ask(a, "a default", sig, &set);
    set.sa_handler = own;
    ask(a, "a handler", sig, &set);
    NOTE(signal(sig, SIG_DFL));
    NOTE(signal(sig, own));
    NOTE(signal(SIGTERM, SIG_ERR));
    NOTE(sigset(sig, SIG_DFL));
    NOTE(__sysv_signal(sig, own));
    NOTE(siginterrupt(sig, 1));
}

struct how {
    int sig;
    void (*script)(struct answers *, int);
    const char *template;     // NULL in the process that makes no directory
    struct answers *answers;
};

static void play(const void *arg)
{
    const struct how *how = arg;
    char dir[32];
    if (how->template)
        CHECK(mkdtemp(strcpy(dir, how->template)) == dir);
    how->answers->count = 0;
    how->script(how->answers, how->sig);
}

static void compare(struct how how, struct answers *both)
{
    for (int i = 0; i < 2; i++) {
        how.template = i ? "d.XXXXXX" : NULL;
        how.answers = &both[i];
        CHECKF(exited(watch(play, &how), 0), "signal %d", how.sig);
    }
    CHECKF(count_names(".", "") == 0, "signal %d", how.sig);
    CHECK(both[0].count == both[1].count);
    for (int q = 0; q < both[0].count; q++)
        for (int v = 0; v < 4; v++)
            CHECKF(both[0].of[q].value[v] == both[1].of[q].value[v], "signal %d, question %d (%s), value %d: %#lx, not %#lx",
                   how.sig, q, both[0].of[q].question, v, both[1].of[q].value[v], both[0].of[q].value[v]);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    struct answers *both = mmap(NULL, 2 * sizeof *both, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(both != MAP_FAILED);
    EVERY_DEADLY_SIGNAL(sig)
        compare((struct how) { sig, interrogate, NULL, NULL }, both);
    const int harmless[] = { SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGTSTP, SIGTTIN, SIGTTOU };
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        compare((struct how) { harmless[i], interrogate, NULL, NULL }, both);
    const int refused[] = { SIGKILL, SIGSTOP, 0, -1, 32, 33, 65, 1000, INT_MIN, INT_MAX };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        compare((struct how) { refused[i], refusals, NULL, NULL }, both);
    return 0;
}
