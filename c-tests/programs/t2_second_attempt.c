// T2: whatever errno the second attempt gives goes back to the program, and nothing is left. Both refusals are made by
// seccomp, so that it does not matter how the second attempt is made: O_TMPFILE gets EOPNOTSUPP, and creating a file the
// errno under test. EEXIST only says that a random name was taken; it may be tried again, but not for ever.
#include "check.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define JUMP(test, value, yes, no) BPF_JUMP(BPF_JMP | (test) | BPF_K, (value), (yes), (no))
#define FAIL(number) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)(number))

static void refuse(int creating)
{
    struct sock_filter filter[] = {
        LOAD(nr),
#ifdef SYS_open
        JUMP(BPF_JEQ, SYS_open, 0, 2),
        LOAD(args[1]),
        JUMP(BPF_JA, 2, 0, 0),
#endif
        JUMP(BPF_JEQ, SYS_openat, 0, 4),
        LOAD(args[2]),
        JUMP(BPF_JSET, O_TMPFILE & ~O_DIRECTORY, 3, 0),
        JUMP(BPF_JSET, O_CREAT, 0, 1),
        FAIL(creating),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        FAIL(EOPNOTSUPP),
    };
    struct sock_fprog program = { .len = sizeof filter / sizeof *filter, .filter = filter };
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    static const int numbers[] = { EPERM,  ENOENT, EIO,     ENXIO,  E2BIG,        EBADF,  EAGAIN,    ENOMEM, EACCES,
                                   EBUSY,  EXDEV,  ENODEV,  ENOTDIR, EISDIR,      EINVAL, ENFILE,    EMFILE, ETXTBSY,
                                   EFBIG,  ENOSPC, EROFS,   EMLINK, ENAMETOOLONG, ENOSYS, ELOOP,     ESTALE, EDQUOT,
                                   EPROTO, EREMOTEIO, EOVERFLOW, EOPNOTSUPP, ENOTCONN, ECONNREFUSED, ETIMEDOUT };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        IN_CHILD({
            refuse(numbers[i]);
            CHECK_FAILS(OPEN(argv[1], O_RDWR | O_TMPFILE, 0600), numbers[i]);
            CHECK_FAILS(OPENAT(AT_FDCWD, argv[1], O_RDWR | O_TMPFILE, 0600), numbers[i]);
            CHECK(count_names(argv[1], "") == 0);
        });
    IN_CHILD({
        refuse(EEXIST);
        CHECK(OPEN(argv[1], O_RDWR | O_TMPFILE, 0600) == -1);
    });
    // The control without the library: nothing would be shown if every open failed.
    int fd = OPEN(argv[1], O_RDWR | O_TMPFILE, 0600);
    CHECK(fd >= 0 && close(fd) == 0);
    return 0;
}
