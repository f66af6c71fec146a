/* A program whose user wants to end the supervisor: `hostile_signals DIR FILES`. DIR is without O_TMPFILE. While it makes so
 * many files there, a process of the same user sends SIGKILL to all threads of its parent, which is the supervisor. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static volatile struct { long tries, hits; int stop; } *shared;

static void attack(int supervisor)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", supervisor);
    while (!shared->stop) {
        int threads[128], count = 0;
        DIR *stream = opendir(path);
        for (struct dirent *entry; stream && (entry = readdir(stream)) != NULL && count < 128;)
            if (atoi(entry->d_name) > 0)
                threads[count++] = atoi(entry->d_name);
        if (stream)
            closedir(stream);
        for (int round = 0; round < 500 && !shared->stop; round++)
            for (int i = 0; i < count; i++) {
                shared->tries++;
                if (syscall(SYS_tgkill, supervisor, threads[i], SIGKILL) == 0)
                    shared->hits++;
            }
    }
}

int main(int count, char **arguments)
{
    CHECK(count == 3);
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK((void *)shared != MAP_FAILED);
    int supervisor = getppid(), made = 0;
    pid_t attacker = fork();
    if (attacker == 0) {
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        attack(supervisor);
        _exit(0);
    }
    CHECK(attacker > 0);
    while (shared->tries == 0)
        ;
    for (; made < atoi(arguments[2]); made++) {
        int fd = open(arguments[1], O_TMPFILE | O_RDWR, 0600);
        if (fd < 0)
            break;
        close(fd);
    }
    shared->stop = 1;
    int status;
    CHECK(waitpid(attacker, &status, 0) == attacker && status == 0);
    printf("%s, %s\n", made == atoi(arguments[2]) ? "all files made" : "ended in the middle",
        shared->hits ? "hit" : shared->tries > 1000 ? "never hit" : "hardly tried");
    return 0;
}
