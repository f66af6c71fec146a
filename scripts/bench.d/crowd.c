// crowd DIRECTORY [idle]: for every number on standard input, sees to it that so many processes are alive below this one, and
// answers "ready". Each of them opens a file with O_TMPFILE in DIRECTORY, makes a directory there, and waits; or only waits.
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int member(const char *directory, long number, int told, int end)
{
    char path[PATH_MAX], byte = 'r';
    if (directory) {
        snprintf(path, sizeof path, "%s/crowd.%ld", directory, number);
        if (open(directory, O_TMPFILE | O_RDWR, 0600) < 0 || mkdir(path, 0700) != 0)
            byte = 'f';
    }
    if (write(told, &byte, 1) != 1)
        return 1;
    return read(end, &byte, 1) != 0;
}

int main(int count, char **arguments)
{
    long alive = 0, wanted;
    int told[2], end[2];
    if (count < 2 || pipe(told) != 0 || pipe(end) != 0)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (scanf("%ld", &wanted) == 1) {
        for (; alive < wanted; alive++) {
            char byte = 0;
            pid_t child = fork();
            if (child == 0) {
                close(end[1]);
                _exit(member(count == 2 ? arguments[1] : NULL, alive, told[1], end[0]));
            }
            if (child < 0 || read(told[0], &byte, 1) != 1 || byte != 'r')
                return 1;
        }
        puts("ready");
    }
    close(end[1]);
    for (int status; wait(&status) > 0;)
        if (status != 0)
            return 1;
    return 0;
}
