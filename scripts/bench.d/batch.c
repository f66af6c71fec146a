// batch: for every line "WHAT COUNT DIRECTORY [MODE or SIZE]" on standard input, does COUNT things and answers with the
// nanoseconds that took, or with the error. What is only there to make the next one possible is not counted.
//   open       opens /dev/null and closes it
//   tmpfile    opens a file with O_TMPFILE, with this mode, and closes it
//   by-hand    the same with a name that is made and unlinked
//   mkdtemp    makes a directory; removes it uncounted
//   publish    gives a file of that size, made with O_TMPFILE and written out to the disk, a name
//   publish-fresh   the same with a file that was just written
//   copy       copies such a file by read(2) and write(2), and writes the copy out
//   reflink    clones such a file, and writes the clone out
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char chunk[1 << 20];
static char published[PATH_MAX], source[PATH_MAX];

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int fill(int fd, long size)
{
    memset(chunk, 'x', sizeof chunk);
    for (long left = size; left > 0;) {
        ssize_t written = write(fd, chunk, left < (long)sizeof chunk ? left : (long)sizeof chunk);
        if (written < 0)
            return -1;
        left -= written;
    }
    return 0;
}

static int copy(int from, int to)
{
    ssize_t got;
    while ((got = read(from, chunk, sizeof chunk)) > 0)
        if (write(to, chunk, got) != got)
            return -1;
    return got < 0 ? -1 : 0;
}

// The nanoseconds of one, -1 for an error.
static long long publish(const char *directory, long size, int fresh)
{
    char path[64];
    int fd = open(directory, O_TMPFILE | O_WRONLY, 0600);
    if (fd < 0 || fill(fd, size) != 0 || (!fresh && fsync(fd) != 0))
        return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    long long start = now();
    if (linkat(AT_FDCWD, path, AT_FDCWD, published, AT_SYMLINK_FOLLOW) != 0)
        return -1;
    long long spent = now() - start;
    return close(fd) != 0 || unlink(published) != 0 ? -1 : spent;
}

static long long copied(long size, int reflink)
{
    int from = open(source, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (from < 0 || fill(from, size) != 0 || fsync(from) != 0 || lseek(from, 0, SEEK_SET) != 0)
        return -1;
    long long start = now();
    int to = open(published, O_WRONLY | O_CREAT | O_EXCL, 0600);
    int done = to < 0 ? -1 : reflink ? ioctl(to, FICLONE, from) : copy(from, to);
    if (done == 0)
        done = fdatasync(to);
    long long spent = now() - start;
    int error = errno;
    unlink(source);
    unlink(published);
    close(from);
    close(to);
    errno = error;
    return done != 0 ? -1 : spent;
}

static long long mkdtemps(const char *directory, long count)
{
    char (*paths)[PATH_MAX] = malloc(count * sizeof *paths);
    if (!paths)
        return -1;
    for (long i = 0; i < count; i++)
        snprintf(paths[i], sizeof paths[i], "%s/bench.XXXXXX", directory);
    long long start = now();
    for (long i = 0; i < count; i++)
        if (!mkdtemp(paths[i]))
            return -1;
    long long spent = now() - start;
    for (long i = 0; i < count; i++)
        if (rmdir(paths[i]) != 0)
            return -1;
    free(paths);
    return spent;
}

static int open_one(const char *what, const char *directory, const char *extra)
{
    if (strcmp(what, "open") == 0)
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (strcmp(what, "tmpfile") == 0)
        return open(directory, O_TMPFILE | O_RDWR, strtol(extra, NULL, 8));
    if (strcmp(what, "by-hand") == 0) {
        int fd = open(published, O_RDWR | O_CREAT | O_EXCL, strtol(extra, NULL, 8));
        return fd >= 0 && unlink(published) != 0 ? -1 : fd;
    }
    errno = EINVAL;
    return -1;
}

static long long files(const char *what, long count, const char *directory, long size)
{
    long long spent = 0;
    for (long left = count; left > 0; left--) {
        long long one = strcmp(what, "copy") == 0      ? copied(size, 0)
                        : strcmp(what, "reflink") == 0 ? copied(size, 1)
                                                       : publish(directory, size, strcmp(what, "publish") != 0);
        if (one < 0)
            return -1;
        spent += one;
    }
    return spent;
}

static long long opens(const char *what, long count, const char *directory, const char *extra)
{
    long long start = now();
    for (long left = count; left > 0; left--) {
        int fd = open_one(what, directory, extra);
        if (fd < 0 || close(fd) != 0)
            return -1;
    }
    return now() - start;
}

static long long run(const char *what, long count, const char *directory, const char *extra)
{
    if (strcmp(what, "mkdtemp") == 0)
        return mkdtemps(directory, count);
    if (strncmp(what, "publish", 7) == 0 || strcmp(what, "copy") == 0 || strcmp(what, "reflink") == 0)
        return files(what, count, directory, atol(extra));
    return opens(what, count, directory, extra);
}

int main(void)
{
    char line[PATH_MAX], what[32], directory[PATH_MAX - 64], extra[32];
    long count;
    umask(022);
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        strcpy(extra, "0");
        if (sscanf(line, "%31s %ld %4031s %31s", what, &count, directory, extra) < 3)
            return 2;
        snprintf(published, sizeof published, "%s/published-%d", directory, getpid());
        snprintf(source, sizeof source, "%s/source-%d", directory, getpid());
        long long spent = run(what, count, directory, extra);
        if (spent < 0)
            puts(strerror(errno));
        else
            printf("%lld\n", spent);
    }
    return 0;
}
