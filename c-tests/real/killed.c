// What is killed under a supervisor, or goes on when that is. usage: killed RESULT open|publish|track
//
// Works in the current directory. At the marker, close(-424242), c-tests/killer begins to count. RESULT, a file elsewhere, gets
// a word for each attempt: "ok", "published" where linkat has failed and the file has its name all the same, or the error; and
// "end" last.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CONTENT "all of it"

static int out;

static void say_word(const char *word)
{
    char line[64];
    int length = snprintf(line, sizeof line, "%s\n", word);
    if (write(out, line, (size_t)length) != length)
        abort();
}

static void say(int ok)
{
    say_word(ok ? "ok" : strerrorname_np(errno));
}

static int is_published(int fd)
{
    struct stat file, target;
    return fstat(fd, &file) == 0 && stat("target", &target) == 0 && file.st_dev == target.st_dev && file.st_ino == target.st_ino;
}

static void say_of_link(int ok, int fd)
{
    const char *error = strerrorname_np(errno);
    if (ok)
        say_word("ok");
    else
        say_word(strcmp(error, "ENOSYS") == 0 && is_published(fd) ? "published" : error);
}

static int open_it(void)
{
    int fd = open(".", O_RDWR | O_TMPFILE, 0644);
    if (fd >= 0 && write(fd, CONTENT, strlen(CONTENT)) != (ssize_t)strlen(CONTENT))
        abort();
    return fd;
}

static int publish(int fd)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, path, AT_FDCWD, "target", AT_SYMLINK_FOLLOW);
}

int main(int argc, char **argv)
{
    if (argc != 3 || (out = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) < 0)
        return 64;
    int publishes = strcmp(argv[2], "publish") == 0, tracks = strcmp(argv[2], "track") == 0;
    int files[2] = { -1, -1 };
    for (int round = 0; publishes && round < 2; round++)
        if ((files[round] = open_it()) < 0)
            return 65;
    close(-424242);
    // Twice: whoever goes on without a supervisor has to get through that as well.
    for (int round = 0; round < 2; round++)
        if (tracks) {
            char name[] = "tracked.N";
            name[8] = (char)('0' + round);
            // By the call itself, as programs do that no library reaches.
            say(syscall(SYS_mkdirat, AT_FDCWD, name, 0700) == 0);
        } else if (publishes) {
            unlink("target");
            say_of_link(publish(files[round]) == 0, files[round]);
        } else {
            int fd = open_it();
            say(fd >= 0);
            if (fd >= 0)
                close(fd);
        }
    return write(out, "end\n", 4) == 4 ? 0 : 66;
}
