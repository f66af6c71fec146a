// D7: pid 1, twice. In a new PID namespace a child has pid 1; if its parent was pid 1 of its own namespace and they share
// their memory, not even the pid tells them apart. And as pid 1, a process is not ended by a signal it does not handle:
// that must stay so, since a container's first process relies on it.
#include "victim.h"

#include <sched.h>
#include <sys/mman.h>

static char dir[] = "d.XXXXXX";

static void make(void)
{
    CHECK(mkdtemp(dir) == dir);
    put(in(dir, "content"), "x");
}

static int leave(void *how)
{
    if (how)
        kill(syscall(SYS_getpid), SIGTERM);
    _exit(3);
}

// Every child of the calling process that may be taken for it: each is pid 1 of a namespace of its own.
static void have_children(void)
{
    char *stack = mmap(NULL, 1 << 18, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    CHECK(stack != MAP_FAILED);
    const int flags[] = { 0, CLONE_VM, CLONE_VM | CLONE_VFORK, CLONE_FILES | CLONE_FS };
    for (size_t f = 0; f < sizeof flags / sizeof *flags; f++)
        for (int how = 0; how < 2; how++) {
            pid_t pid = clone(leave, stack + (1 << 18), CLONE_NEWPID | flags[f] | SIGCHLD, how ? "signal" : NULL);
            CHECKF(pid > 0, "flags %#x", flags[f]);
            ended(pid);
            CHECKF(holds(in(dir, "content"), "x"), "flags %#x, %d", flags[f], how);
        }
    pid_t pid = fork();
    if (pid == 0)
        exit(3);
    CHECK(exited(ended(pid), 3));
    CHECK(holds(in(dir, "content"), "x"));
}

// Not pid 1 itself; its children become that.
static void outside(const void *unused)
{
    (void)unused;
    make();
    have_children();
    CHECK(unshare(CLONE_NEWPID) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        CHECK(getpid() == 1);
        exit(3);
    }
    CHECK(exited(ended(pid), 3));
    CHECK(holds(in(dir, "content"), "x"));
}

static void first(void)
{
    CHECK(getpid() == 1);
    make();
    have_children();
}

static void first_and_exit(void) { first(); exit(3); }
static void first_and_exit_low(void) { first(); _exit(3); }

// From inside its namespace nothing with a default disposition reaches it.
static void first_and_signalled(void)
{
    first();
    EVERY_DEADLY_SIGNAL(sig) {
        kill(getpid(), sig);
        CHECKF(holds(in(dir, "content"), "x"), "signal %d", sig);
    }
    exit(3);
}

static void in_new_namespace(const void *part)
{
    CHECK(unshare(CLONE_NEWPID) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        (*(void (*const *)(void))part)();
        exit(0);
    }
    exit(WEXITSTATUS(ended(pid)));
}

// Nor does one from outside, other than SIGKILL.
static void signalled_from_outside(const void *unused)
{
    (void)unused;
    int p[2];
    char byte;
    CHECK(pipe(p) == 0 && unshare(CLONE_NEWPID) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        first();
        CHECK(write(p[1], "x", 1) == 1);
        // A signal that is dropped does not even interrupt a call.
        pause();
        _exit(9);
    }
    CHECK(read(p[0], &byte, 1) == 1);
    EVERY_DEADLY_SIGNAL(sig)
        CHECK(kill(pid, sig) == 0);
    // A second signal pending behind the others would be seen by now; the directory is there as long as the process is.
    usleep(50000);
    int status = 0;
    CHECKF(waitpid(pid, &status, WNOHANG) == 0, "ended with status %#x", status);
    CHECK(count_names(".", "d.") == 1);
    CHECK(kill(pid, SIGKILL) == 0 && killed(ended(pid), SIGKILL));
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    CHECK(exited(watch(outside, NULL), 0));
    CHECK(count_names(".", "") == 0);
    static void (*const firsts[])(void) = { first_and_exit, first_and_exit_low, first_and_signalled };
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        CHECKF(exited(watch(in_new_namespace, &firsts[i]), 3), "way %zu", i);
        CHECKF(count_names(".", "") == 0, "way %zu", i);
    }
    CHECK(exited(watch(signalled_from_outside, NULL), 0));
    // SIGKILL leaves what it leaves. Not cleared up above: in a namespace without its first process nothing can fork.
    DIR *d = opendir(".");
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] == 'd')
            scrub(e->d_name);
    closedir(d);
    return 0;
}
