/* Opens a file without a name in the directory that it is given, and again through /proc. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
int main(int count, char **arguments) {
    int fd = open(arguments[1], O_TMPFILE | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0) { perror("open"); return 1; }
    char path[64];
    sprintf(path, "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY) < 0 ? 2 : 0;
}
