/* Makes a directory with an open file in it, says which process it is, and goes on until its input ends. */
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <unistd.h>
int main(int count, char **arguments) {
    char path[4096], file[5000];
    snprintf(path, sizeof path, "%s/made-XXXXXX", arguments[1]);
    if (!mkdtemp(path)) return 1;
    snprintf(file, sizeof file, "%s/open", path);
    if (open(file, O_CREAT | O_RDWR, 0600) < 0) return 1;
    printf("%d\n", getpid());
    fflush(stdout);
    getchar();
    return 0;
}
