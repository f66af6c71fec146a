// The calls that tmpshim stands in for, or takes notice of, and those that make its work hard.
#include "interpreter.h"

struct how {
    uint64_t flags, mode, resolve;
};

// The bytes that are written: which they are follows from a number, so that the model knows them as well.
static unsigned char pattern(long seed, long i)
{
    return (unsigned char)(seed * 31 + i * 7 + (i >> 8) * 13 + 1);
}

static int fill(int fd, long seed, long length, long offset)
{
    unsigned char bytes[4096];
    for (long done = 0; done < length;) {
        long some = length - done < (long)sizeof bytes ? length - done : (long)sizeof bytes;
        for (long i = 0; i < some; i++)
            bytes[i] = pattern(seed, done + i);
        ssize_t n = offset < 0 ? write(fd, bytes, some) : pwrite(fd, bytes, some, offset + done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? errno : EIO;
        done += n;
    }
    return 0;
}

static int descriptor(const struct operation *o, int argument)
{
    return *file_of(number(o, argument));
}

// What a call has said that needed a descriptor for itself.
static int close_after(int result, int fd)
{
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

// The directory a path is in, for the doors that want a descriptor.
static int above(const char *whole, const char **last)
{
    static _Thread_local char directory[PATH_MAX];
    const char *slash = strrchr(whole, '/');
    *last = slash ? slash + 1 : whole;
    if (!slash)
        return open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    size_t length = slash == whole ? 1 : (size_t)(slash - whole);
    memcpy(directory, whole, length);
    directory[length] = 0;
    return open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int make_directory(const struct operation *o)
{
    char room[PATH_MAX];
    const char *whole = path(o, 2, room), *last;
    mode_t mode = number(o, 1);
    switch (number(o, 0)) {
    case 0:
        return mkdir(whole, mode) ? errno : 0;
    case 1:
        return mkdirat(AT_FDCWD, whole, mode) ? errno : 0;
    case 2:
        return syscall(SYS_mkdirat, AT_FDCWD, whole, mode) ? errno : 0;
    default: {
        int at = above(whole, &last);
        return at < 0 || close_after(mkdirat(at, last, mode), at) ? errno : 0;
    }
    }
}

// tmpfile FILE DOOR FLAGS MODE PATH
static int open_tmpfile(const struct operation *o)
{
    char room[PATH_MAX];
    const char *directory = path(o, 4, room);
    int flags = O_TMPFILE | (int)number(o, 2), fd, at;
    mode_t mode = number(o, 3);
    struct how how = { (unsigned)flags, mode, 0 };
    switch (number(o, 1)) {
    case 0:
        fd = open(directory, flags, mode);
        break;
    case 1:
        fd = openat(AT_FDCWD, directory, flags, mode);
        break;
    case 2:
        fd = syscall(SYS_openat, AT_FDCWD, directory, flags, mode);
        break;
    case 3:
        fd = syscall(SYS_openat2, AT_FDCWD, directory, &how, sizeof how);
        break;
    default:
        at = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (at < 0)
            return errno;
        fd = close_after(openat(at, ".", flags, mode), at);
    }
    *file_of(number(o, 0)) = fd;
    return fd < 0 ? errno : 0;
}

// linkat by a path that ends in a descriptor's number.
static int link_by_number(int from, const char *before_number, int fd, int to, const char *name)
{
    char link[64];
    snprintf(link, sizeof link, "%s%d", before_number, fd);
    return linkat(from, link, to, name, AT_SYMLINK_FOLLOW);
}

static int link_in_form(int form, int fd, const char *name)
{
    char own[32];
    const char *last;
    int at;
    switch (form) {
    case 0:
        return linkat(fd, "", AT_FDCWD, name, AT_EMPTY_PATH);
    case 1:
        return link_by_number(AT_FDCWD, "/proc/self/fd/", fd, AT_FDCWD, name);
    case 2:
        return link_by_number(AT_FDCWD, "/proc/thread-self/fd/", fd, AT_FDCWD, name);
    case 3:
        return link_by_number(AT_FDCWD, "/dev/fd/", fd, AT_FDCWD, name);
    case 4:
        snprintf(own, sizeof own, "/proc/%ld/fd/", (long)syscall(SYS_getpid));
        return link_by_number(AT_FDCWD, own, fd, AT_FDCWD, name);
    case 5:
        at = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return at < 0 ? -1 : close_after(link_by_number(at, "", fd, AT_FDCWD, name), at);
    default:
        at = above(name, &last);
        return at < 0 ? -1 : close_after(link_by_number(AT_FDCWD, "/proc/self/fd/", fd, at, last), at);
    }
}

// publish FILE FORM PATH
static int publish(const struct operation *o)
{
    char room[PATH_MAX];
    const char *name = path(o, 2, room);
    int fd = descriptor(o, 0);
    struct stat by_fd, by_name;
    if (link_in_form((int)number(o, 1), fd, name))
        return errno;
    // The descriptor and the name are one file.
    if (fstat(fd, &by_fd) || lstat(name, &by_name))
        report(o, "published, and then: %s", strerror(errno));
    else if (by_fd.st_ino != by_name.st_ino || by_fd.st_dev != by_name.st_dev)
        report(o, "the descriptor is inode %lu, the name inode %lu", (long)by_fd.st_ino, (long)by_name.st_ino);
    return 0;
}

// check FILE REOPENED LENGTH SUM: all that is in it, read through the descriptor or a new one.
static int check(const struct operation *o)
{
    char link[64];
    unsigned char bytes[4096];
    int fd = descriptor(o, 0), mine = -1, flags = fcntl(fd, F_GETFL);
    uint64_t sum = 0xcbf29ce484222325u;
    long length = 0;
    if (flags < 0)
        return errno;
    if (number(o, 1) || (flags & O_ACCMODE) == O_WRONLY) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        mine = fd = open(link, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return errno;
    }
    for (ssize_t n; (n = pread(fd, bytes, sizeof bytes, length)) != 0;) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        for (ssize_t i = 0; i < n; i++)
            sum = (sum ^ bytes[i]) * 0x100000001b3u;
        length += n;
    }
    if (mine >= 0)
        close(mine);
    if (length != number(o, 2) || sum != strtoull(o->argument[3], NULL, 16))
        report(o, "%ld bytes with the sum %lx", length, (long)sum);
    return 0;
}

static int create(const struct operation *o)
{
    char room[PATH_MAX];
    int fd = open(path(o, 0, room), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)number(o, 1));
    if (fd < 0)
        return errno;
    int error = fill(fd, number(o, 2), number(o, 3), -1);
    close(fd);
    return error;
}

static int make_temporary(const struct operation *o)
{
    char room[PATH_MAX], template[PATH_MAX];
    strcpy(template, path(o, 1, room));
    if (!mkdtemp(template))
        return errno;
    const char *slash = strrchr(template, '/');
    snprintf(board->name[number(o, 0)], sizeof board->name[0], "%.23s", slash ? slash + 1 : template);
    return 0;
}

static int move(const struct operation *o)
{
    int slot = number(o, 0), fd = *file_of(slot);
    int other = fcntl(fd, (fcntl(fd, F_GETFD) & FD_CLOEXEC) ? F_DUPFD_CLOEXEC : F_DUPFD, 20);
    if (other < 0)
        return errno;
    close(fd);
    *file_of(slot) = other;
    return 0;
}

static int close_one(const struct operation *o)
{
    int fd = descriptor(o, 0);
    *file_of(number(o, 0)) = -1;
    return close(fd) ? errno : 0;
}

static int change_root(const struct operation *o)
{
    char room[PATH_MAX];
    return chroot(path(o, 0, room)) || chdir("/") ? errno : 0;
}

int call(const struct operation *o)
{
    char one[PATH_MAX], other[PATH_MAX];
    struct stat st;
#define ANSWER(expression) return (expression) ? errno : 0
    if (IS("mkdtemp"))
        return make_temporary(o);
    if (IS("mkdir"))
        return make_directory(o);
    if (IS("rmdir"))
        ANSWER(rmdir(path(o, 0, one)));
    if (IS("rename"))
        ANSWER(rename(path(o, 0, one), path(o, 1, other)));
    if (IS("create"))
        return create(o);
    if (IS("unlink"))
        ANSWER(unlink(path(o, 0, one)));
    if (IS("symlink"))
        ANSWER(symlink(path(o, 0, one), path(o, 1, other)));
    if (IS("chmod"))
        ANSWER(chmod(path(o, 1, one), (mode_t)number(o, 0)));
    if (IS("tmpfile"))
        return open_tmpfile(o);
    if (IS("write"))
        return fill(descriptor(o, 0), number(o, 1), number(o, 2), -1);
    if (IS("pwrite"))
        return fill(descriptor(o, 0), number(o, 1), number(o, 2), number(o, 3));
    if (IS("truncate"))
        ANSWER(ftruncate(descriptor(o, 0), number(o, 1)));
    if (IS("fchmod"))
        ANSWER(fchmod(descriptor(o, 0), (mode_t)number(o, 1)));
    if (IS("check"))
        return check(o);
    if (IS("move"))
        return move(o);
    if (IS("close"))
        return close_one(o);
    if (IS("publish"))
        return publish(o);
    if (IS("umask"))
        return umask((mode_t)number(o, 0)), 0;
    if (IS("chdir"))
        ANSWER(chdir(path(o, 0, one)));
    if (IS("chroot"))
        return change_root(o);
    if (IS("closefrom")) {
        for (int f = 0; f < FILES; f++)
            *file_of(f) = -1;
        ANSWER(syscall(SYS_close_range, 3, ~0u, 0));
    }
    if (IS("setsid"))
        ANSWER(setsid() < 0);
    if (IS("stands"))
        ANSWER(lstat(path(o, 0, one), &st));
    return -1;
}
