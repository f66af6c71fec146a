// tmpfiles DIRECTORY: for every line "COUNT MODE" (decimal, octal) on standard input, opens COUNT files with O_TMPFILE and
// closes them, and answers with the nanoseconds that took. Says first whether O_TMPFILE works here.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
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
    char line[64];
    long files;
    unsigned mode;
    if (count != 2)
        return 2;
    umask(022);
    setvbuf(stdout, NULL, _IOLBF, 0);
    int fd = open(arguments[1], O_TMPFILE | O_RDWR, 0600);
    puts(fd < 0 ? strerror(errno) : "works");
    if (fd >= 0)
        close(fd);
    while (fgets(line, sizeof line, stdin) && sscanf(line, "%ld %o", &files, &mode) == 2) {
        long long start = now();
        for (long left = files; left > 0; left--) {
            fd = open(arguments[1], O_TMPFILE | O_RDWR, mode);
            if (fd < 0 || close(fd) != 0)
                return 1;
        }
        printf("%lld\n", now() - start);
    }
    return 0;
}
