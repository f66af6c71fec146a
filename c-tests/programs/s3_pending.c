// S3: what is blocked, pending, handled and ignored is the same after an O_TMPFILE open as before, in a handler on an alternate
// stack, too; and each pending signal can still be had, queued ones as often as they were sent and in that order.
#include "check.h"

static const char *directory;

// What the kernel says of this thread's signals; but how many are queued is the user's business.
static void describe(char *text, size_t size)
{
    stack_t stack;
    size_t length = 0;
    char line[256];
    FILE *status = fopen("/proc/thread-self/status", "re");
    CHECK(status != NULL && sigaltstack(NULL, &stack) == 0);
    while (fgets(line, sizeof line, status))
        if ((strncmp(line, "Sig", 3) == 0 && line[3] != 'Q') || strncmp(line, "ShdPnd", 6) == 0)
            length += (size_t)snprintf(text + length, size - length, "%s", line);
    snprintf(text + length, size - length, "%p %zu %d", stack.ss_sp, stack.ss_size, stack.ss_flags);
    CHECK(fclose(status) == 0);
}

static void open_and_compare(void)
{
    char before[1024], after[1024];
    describe(before, sizeof before);
    int fd = OPEN(directory, O_TMPFILE | O_RDWR, 0600);
    describe(after, sizeof after);
    CHECK(fd >= 0 && close(fd) == 0);
    if (strcmp(before, after) != 0)
        fprintf(stderr, "before:\n%s\nafter:\n%s\n", before, after);
    CHECK(strcmp(before, after) == 0);
}

static volatile sig_atomic_t handled;

static void open_in_handler(int sig)
{
    (void)sig;
    open_and_compare();
    handled++;
}

static void wait_for(int sig, int value)
{
    sigset_t one;
    siginfo_t info;
    struct timespec now = { 0, 0 };
    sigemptyset(&one);
    sigaddset(&one, sig);
    CHECK(sigtimedwait(&one, &info, &now) == sig && (value < 0 || info.si_value.sival_int == value));
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    directory = argv[1];
    sigset_t blocked, none;
    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigaddset(&blocked, SIGUSR2);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGRTMIN + 3);
    stack_t stack = { .ss_sp = malloc(64 << 10), .ss_size = 64 << 10 };
    CHECK(stack.ss_sp != NULL && sigaltstack(&stack, NULL) == 0);
    CHECK(sigprocmask(SIG_SETMASK, &blocked, NULL) == 0);
    open_and_compare();
    CHECK(kill(getpid(), SIGUSR1) == 0 && kill(getpid(), SIGTERM) == 0);
    CHECK(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR2) == 0);
    for (int value = 1; value <= 3; value++)
        CHECK(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){ .sival_int = value }) == 0);
    open_and_compare();
    // In a handler, with all blocked, on the alternate stack, which is then in use.
    struct sigaction action = { .sa_handler = open_in_handler, .sa_flags = SA_ONSTACK };
    sigfillset(&action.sa_mask);
    CHECK(sigaction(SIGHUP, &action, NULL) == 0 && raise(SIGHUP) == 0 && handled == 1);
    open_and_compare();
    for (int value = 1; value <= 3; value++)
        wait_for(SIGRTMIN + 3, value);
    wait_for(SIGUSR1, -1);
    wait_for(SIGUSR2, -1);
    wait_for(SIGTERM, -1);
    CHECK(sigpending(&none) == 0 && sigismember(&none, SIGTERM) == 0);
    open_and_compare();
    return 0;
}
