// T7: after publishing, the program's descriptor is the published file: same offset, same flags, later writes land in it.
// updatedb.plocate writes its header then. Also through a duplicate that existed before, and in a forked child.
#include "check.h"

static void holds(const char *name, const char *text)
{
    char back[64];
    int fd = open(name, O_RDONLY);
    CHECK(fd >= 0);
    ssize_t length = read(fd, back, sizeof back);
    if (length != (ssize_t)strlen(text) || memcmp(back, text, strlen(text)) != 0)
        fprintf(stderr, "%s: %.*s, must be %s\n", name, (int)(length < 0 ? 0 : length), back, text);
    CHECK(length == (ssize_t)strlen(text) && memcmp(back, text, strlen(text)) == 0);
    CHECK(close(fd) == 0);
}

static void publish(int fd, const char *target)
{
    CHECK(linkat(AT_FDCWD, fd_path(fd), AT_FDCWD, target, AT_SYMLINK_FOLLOW) == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2 && chdir(argv[1]) == 0);
    int fd = OPEN(".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, "______ body", 11) == 11 && lseek(fd, 6, SEEK_SET) == 6);
    publish(fd, "one");
    CHECK(lseek(fd, 0, SEEK_CUR) == 6 && fcntl(fd, F_GETFD) == FD_CLOEXEC && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR);
    CHECK(write(fd, "+", 1) == 1 && pwrite(fd, "header", 6, 0) == 6);
    holds("one", "header+body");
    IN_CHILD(CHECK(pwrite(fd, "HEADER", 6, 0) == 6));
    holds("one", "HEADER+body");
    CHECK(ftruncate(fd, 6) == 0 && fsync(fd) == 0 && close(fd) == 0);
    holds("one", "HEADER");

    fd = OPEN(".", O_WRONLY | O_TMPFILE | O_APPEND, 0600);
    CHECK(fd >= 0 && write(fd, "abc", 3) == 3);
    publish(fd, "two");
    CHECK((fcntl(fd, F_GETFL) & (O_APPEND | O_ACCMODE)) == (O_APPEND | O_WRONLY) && fcntl(fd, F_GETFD) == 0);
    CHECK(lseek(fd, 0, SEEK_SET) == 0 && write(fd, "def", 3) == 3 && close(fd) == 0);
    holds("two", "abcdef");

    // A stream over the descriptor, whose buffer is written after publishing.
    fd = OPEN(".", O_RDWR | O_TMPFILE, 0600);
    FILE *stream = fdopen(fd, "w+");
    CHECK(fd >= 0 && stream != NULL && fputs("first ", stream) >= 0 && fflush(stream) == 0);
    CHECK(fputs("second", stream) >= 0);
    publish(fd, "three");
    CHECK(fclose(stream) == 0);
    holds("three", "first second");
    CHECK(unlink("one") == 0 && unlink("two") == 0 && unlink("three") == 0);
    return 0;
}
