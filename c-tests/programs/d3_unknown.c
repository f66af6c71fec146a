// D3: where the kernel gives neither a journal (flock) nor a segment of shared memory, nobody can tell whether a forked process
// lives. The directory stays then: it is not taken from a daemon that uses it.
#include "lives.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

static void refuse_what_tells(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_flock, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_shmget, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = sizeof filter / sizeof *filter, .filter = filter };
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

// Makes a directory, and a daemon of which it knows nothing when it ends.
static int maker(void)
{
    refuse_what_tells();
    make_with_content((char[]) { "d.XXXXXX" });
    pid_t between = fork();
    CHECK(between >= 0);
    if (between == 0) {
        pid_t daemon = fork();
        CHECK(daemon >= 0);
        if (daemon == 0) {
            live();
            _exit(3);
        }
        atomic_store(&board->pid, daemon);
        _exit(3);
    }
    CHECK(exited(ended(between), 3));
    exit(3);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    observe();
    clear_board();
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        return maker();
    CHECK(exited(ended(pid), 3));
    CHECKF(journals() == 0, "%d journals that could not be locked", journals());
    EVENTUALLY(atomic_load(&board->ready));
    check_held(1, "while the daemon lives");
    atomic_store(&board->go, 1);
    CHECK(exited(ended(atomic_load(&board->pid)), 3));
    // Nobody has it noted, so it stays, with its content.
    check_held(1, "afterwards");
    CHECK(system("rm -rf d.??????") == 0);
    return 0;
}
