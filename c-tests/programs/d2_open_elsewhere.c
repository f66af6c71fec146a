// D2, D5: a directory in which somebody who is not told of has a file open when its maker ends. Where a server keeps a name for
// such a file, the directory cannot be removed then; it goes at the end of all, and no journal stays for it.
#include "check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
    int ready[2], go[2];
    char byte = 0;
    CHECK(argc > 1 && chdir(argv[1]) == 0 && pipe(ready) == 0 && pipe(go) == 0);
    pid_t maker = fork();
    CHECK(maker >= 0);
    if (maker == 0) {
        CHECK(mkdir("k-one", 0700) == 0 && write(ready[1], &byte, 1) == 1 && read(go[0], &byte, 1) == 1);
        _exit(0);
    }
    CHECK(read(ready[0], &byte, 1) == 1);
    int fd = open("k-one/file", O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0 && write(go[1], &byte, 1) == 1 && exit_of(maker) == 0);
    EVENTUALLY(access("k-one/file", F_OK) != 0);
    CHECK(close(fd) == 0);
    return 0;
}
