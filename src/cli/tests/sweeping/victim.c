/* Makes directories and says "ready"; then is killed, or ends when its standard input does, a daemon's parent at once.
   usage: victim TEMPLATE killed|stays|daemon|ends COUNT [file]
   With "file" there is one of five bytes in each directory. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **arguments) {
    int most = atoi(arguments[3]);
    for (int number = 0; number < most; number++) {
        char path[4096];
        snprintf(path, sizeof path, "%s", arguments[1]);
        if (!mkdtemp(path)) { perror(path); return 1; }
        if (count > 4) {
            strcat(path, "/file");
            int fd = open(path, O_WRONLY | O_CREAT, 0600);
            if (fd < 0 || write(fd, "12345", 5) != 5) { perror(path); return 1; }
            close(fd);
        }
    }
    if (!strcmp(arguments[2], "daemon") && fork()) _exit(0);
    puts("ready");
    fflush(stdout);
    if (!strcmp(arguments[2], "killed")) raise(SIGKILL);
    getchar();
    return 0;
}
