// A seccomp listener that a child makes for its own calls, and its parent takes. Included behind a `die(what)`.
#ifndef LISTENER_H
#define LISTENER_H

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

// In the child.
static int listen_by(struct sock_filter *filter, size_t length)
{
    struct sock_fprog program = { .len = (unsigned short)length, .filter = filter };
    // Else a signal would take the caller out of the call, which would then be made and counted again.
    unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

// In the parent: the listener that the child has handed over, or why it has none, as a negative errno.
static int take_listener(pid_t pid, const atomic_int *handed)
{
    while (atomic_load(handed) == 0)
        sched_yield();
    errno = -atomic_load(handed);
    if (errno > 0)
        die("seccomp");
    int process = (int)syscall(SYS_pidfd_open, pid, 0);
    int listener = (int)syscall(SYS_pidfd_getfd, process, atomic_load(handed), 0);
    if (listener < 0)
        die("listener");
    close(process);
    return listener;
}

#endif
