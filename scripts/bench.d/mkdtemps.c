// mkdtemps DIRECTORY N [file] [killed]: makes N directories with mkdtemp, with "file" a small file in each; prints the
// nanoseconds that mkdtemp took, and what the monotonic clock says right before exit(), or with "killed" SIGKILL. They are
// left to whoever removes them.
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int count, char **arguments)
{
    char path[PATH_MAX], name[PATH_MAX + 8];
    if (count < 3)
        return 2;
    int file = count > 3 && strcmp(arguments[3], "file") == 0;
    int killed = count > 3 && strcmp(arguments[count - 1], "killed") == 0;
    long long start = now();
    for (long left = atol(arguments[2]); left > 0; left--) {
        snprintf(path, sizeof path, "%s/bench.XXXXXX", arguments[1]);
        if (!mkdtemp(path))
            return 1;
        if (file) {
            snprintf(name, sizeof name, "%s/file", path);
            int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
            if (fd < 0 || write(fd, "x\n", 2) != 2 || close(fd) != 0)
                return 1;
        }
    }
    long long end = now();
    printf("%lld\n", end - start);
    fflush(stdout);
    // What is still to be written would be waited for by whoever comes next: neither side is to pay for it.
    int top = open(arguments[1], O_RDONLY | O_DIRECTORY);
    if (top < 0 || syncfs(top) != 0 || close(top) != 0)
        return 1;
    dprintf(1, "%lld\n", now());
    if (killed)
        raise(SIGKILL);
    exit(0);
}
