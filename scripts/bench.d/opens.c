// opens DOOR N: opens /dev/null N times through one of libc's doors. The run of 2N less the run of N is N opens and
// nothing else.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **arguments)
{
    if (count != 3)
        return 2;
    const char *door = arguments[1];
    for (long left = atol(arguments[2]); left > 0; left--) {
        int fd = -1;
        if (strcmp(door, "open") == 0)
            fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        else if (strcmp(door, "open64") == 0)
            fd = open64("/dev/null", O_RDONLY | O_CLOEXEC);
        else if (strcmp(door, "openat") == 0)
            fd = openat(AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return 1;
        close(fd);
    }
    return 0;
}
