// T5: in another root, where there is no /proc to try things out with, an O_TMPFILE open leaves no name of ours either; a file
// that others may open least of all, which is made in a directory of its own where that can be.
#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0 && mkdir("root", 0755) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(chroot("root") == 0 && chdir("/") == 0);
        for (int i = 0; i < 3; i++) {
            int fd = open("/", O_TMPFILE | O_RDWR, 0644);
            CHECK(fd >= 0 && write(fd, "x", 1) == 1);
        }
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    // The server hears of the last close after the process has ended.
    for (double deadline = seconds() + 10; rmdir("root") && seconds() < deadline;)
        usleep(1000);
    CHECK(access("root", F_OK) == -1);
    return 0;
}
