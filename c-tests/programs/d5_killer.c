// D5: the tool that the kill matrix relies on. It kills before each call and after it, tells when there are no more, and
// with -c spares the first process.
#include "kill.h"
#include "raw.h"

// Calls that libc has no part in, so that their number is known.
static void three_directories(void)
{
    mark();
    for (const char *name = "a\0b\0c\0"; *name; name += 2)
        raw_syscall(SYS_mkdirat, AT_FDCWD, (long)name, 0700, 0);
    raw_syscall(SYS_exit_group, 5, 0, 0, 0);
}

static void in_a_child(void)
{
    pid_t pid = fork();
    if (pid == 0)
        three_directories();
    int status = ended(pid);
    raw_syscall(SYS_exit_group, killed(status, SIGKILL) ? 9 : WEXITSTATUS(status), 0, 0, 0);
}

static int made(void)
{
    int count = exists("a") + exists("b") + exists("c");
    for (const char *name = "a\0b\0c\0"; *name; name += 2)
        rmdir(name);
    return count;
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    if (argc > 2)
        (strcmp(argv[2], "first") == 0 ? three_directories : in_a_child)();
    const char *const first[] = { self(), ".", "first", NULL }, *const child[] = { self(), ".", "child", NULL };

    // Six stops at mkdirat, and one before exit_group, which has none after.
    for (int n = 1; n <= 7; n++) {
        struct killing killing = kill_at(n, "-m", first);
        CHECKF(killing.reached && strncmp(killing.words, n % 2 ? "killed before " : "killed after ", n % 2 ? 14 : 13) == 0,
               "stop %d: %s", n, killing.words);
        int count = made();
        CHECKF(count == n / 2, "stop %d: %d directories", n, count);
    }
    struct killing all = kill_at(8, "-m", first);
    CHECKF(!all.reached && strcmp(all.words, "ended with status 5 after 7 stops") == 0, "%s", all.words);
    CHECK(made() == 3);

    // The parent's wait comes to an end in every case, also when its stops are counted.
    for (int n = 1; n <= 7; n++) {
        CHECKF(kill_at(n, "-mc", child).reached, "stop %d of the child", n);
        int count = made();
        CHECKF(count == n / 2, "stop %d of the child: %d directories", n, count);
    }
    all = kill_at(8, "-mc", child);
    CHECKF(!all.reached && strcmp(all.words, "ended with status 5 after 7 stops") == 0, "%s", all.words);
    CHECK(made() == 3);
    all = kill_at(1000, "-m", child);
    CHECKF(!all.reached && strncmp(all.words, "ended with status 5 after ", 26) == 0, "%s", all.words);
    CHECK(made() == 3);
    return 0;
}
