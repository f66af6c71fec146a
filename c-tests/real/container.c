// What a container may have for a program. usage: container exit N | orphans | waits | unaware | directory
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

// How many processes there are beside us and the one that started us.
static int others(void)
{
    int count = 0;
    DIR *processes = opendir("/proc");
    if (!processes)
        return -1;
    for (struct dirent *entry; (entry = readdir(processes));) {
        pid_t pid = atoi(entry->d_name);
        char path[64], line[512] = "", *rest;
        int parent = 0;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *stat = pid > 0 && pid != getpid() ? fopen(path, "re") : NULL;
        if (!stat)
            continue;
        if (fgets(line, sizeof line, stat) && (rest = strrchr(line, ')')))
            sscanf(rest, ") %*c %d", &parent);
        fclose(stat);
        // What supervises us is a part of tmpshim, whatever shape that has.
        if (strncmp(strchr(line, '(') ? strchr(line, '(') : line, "(container)", 11) == 0)
            count++;
    }
    closedir(processes);
    return count;
}

// A hundred grandchildren lose their parent, and then end: somebody has to wait for them.
static int orphans(void)
{
    int gate[2];
    if (pipe(gate) != 0)
        return 2;
    pid_t child = fork();
    if (child == 0) {
        for (int n = 0; n < 100; n++)
            if (fork() == 0) {
                char byte;
                close(gate[1]);
                _exit(read(gate[0], &byte, 1) == 0 ? n : 200);
            }
        _exit(0);
    }
    if (waitpid(child, NULL, 0) != child || others() != 100)
        return 3;
    close(gate[1]);
    for (double deadline = seconds() + 20; others() > 0; usleep(1000))
        if (seconds() > deadline)
            return 4;
    return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD ? 0 : 5;
}

static void on_term(int sig)
{
    (void)sig;
    if (write(1, "asked to end\n", 13) != 13)
        _exit(6);
    _exit(7);
}

static _Noreturn void waits(int aware)
{
    if (aware)
        signal(SIGTERM, on_term);
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "exit") == 0)
        return atoi(argv[2]);
    if (strcmp(what, "orphans") == 0)
        return orphans();
    if (strcmp(what, "waits") == 0)
        waits(1);
    if (strcmp(what, "unaware") == 0)
        waits(0);
    if (strcmp(what, "directory") == 0)
        return mkdtemp((char[]){ "/tmp/made.XXXXXX" }) ? 0 : 8;
    return 64;
}
