// The program of deploy/example: a file without a name in the directory that it is given, read again through /proc, and a
// directory; says "ready", and ends when it is asked to.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

int main(int argc, char **argv)
{
    char path[4096], text[6] = "";
    sigset_t asked;
    int sig, file, again;

    if (argc != 2)
        return 64;
    sigemptyset(&asked);
    sigaddset(&asked, SIGTERM);
    sigprocmask(SIG_BLOCK, &asked, NULL);

    file = open(argv[1], O_TMPFILE | O_WRONLY | O_CLOEXEC, 0644);
    if (file < 0)
        fail("temporary file");
    if (write(file, "hello", 5) != 5)
        fail("write");
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    again = open(path, O_RDONLY | O_CLOEXEC);
    if (again < 0 || read(again, text, 5) != 5 || strcmp(text, "hello") != 0)
        fail("read");
    snprintf(path, sizeof path, "%s/made.XXXXXX", argv[1]);
    if (!mkdtemp(path))
        fail("temporary directory");
    puts("ready");
    fflush(stdout);
    return sigwait(&asked, &sig) == 0 ? 0 : 2;
}
