// What a fault is tried on. usage: victim ROLE
//
// Works in the current directory. What is tried lies between two marks, close(-424242), after a SIGCONT that nobody but a tracer
// notices, and close(-424243); for what happens at the end of a process, behind the first. Behind close(-424244) what fails for ever does so again. A line for each step goes to standard output: its name, and "ok" or the
// errno; further lines say what a program would notice of a file or a directory that is not as it must be.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONTENT "all of it"
#define UNTOUCHED 4242

static void mark(void)
{
    raise(SIGCONT);
    close(-424242);
}

static void unmark(void) { close(-424243); }

static void say(const char *format, ...)
{
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    line[length++] = '\n';
    if (write(1, line, (size_t)length) != length)
        abort();
}

// What a step came to: success leaves errno alone.
static void tell(const char *step, int ok, int error)
{
    if (!ok)
        say("%s %s", step, strerrorname_np(error));
    else if (error != UNTOUCHED)
        say("%s ok, and errno is now %s", step, strerrorname_np(error));
    else
        say("%s ok", step);
}

static int count(const char *directory)
{
    int found = 0;
    DIR *stream = opendir(directory);
    while (stream != NULL && readdir(stream) != NULL)
        found++;
    if (stream != NULL)
        closedir(stream);
    return found;
}

static int descriptors(void)
{
    return count("/proc/self/fd");
}

// Whether the file has a hidden name, and so no permissions for others yet.
static int is_kept(int fd)
{
    char path[64], target[4096] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return readlink(path, target, sizeof target - 1) > 0 && strstr(target, "/.tmpshim-") != NULL &&
           strstr(target, " (deleted)") == NULL;
}

// What programs do with such a file.
static void use(int fd, mode_t mode)
{
    char path[64], content[16] = "";
    struct stat status;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (write(fd, CONTENT, strlen(CONTENT)) != (ssize_t)strlen(CONTENT))
        say("write %s", strerrorname_np(errno));
    int again = open(path, O_RDONLY | O_CLOEXEC);
    if (again < 0)
        say("open again %s", strerrorname_np(errno));
    else if (read(again, content, sizeof content - 1) < 0 || strcmp(content, CONTENT) != 0)
        say("content %s", content);
    if (again >= 0)
        close(again);
    if (fstat(fd, &status) != 0)
        say("fstat %s", strerrorname_np(errno));
    else if ((status.st_mode & 07777) != (is_kept(fd) ? mode & 07700 : mode))
        say("mode %o", status.st_mode & 07777);
    int flags = fcntl(fd, F_GETFL), fd_flags = fcntl(fd, F_GETFD);
    if ((flags & O_ACCMODE) != O_RDWR || fd_flags != FD_CLOEXEC)
        say("flags %o, %o", flags, fd_flags);
}

static int open_it(mode_t mode)
{
    return open(".", O_RDWR | O_TMPFILE | O_CLOEXEC, mode);
}

// So often in a row: what is found out about a filesystem at the first open holds for the next.
static void opened(mode_t mode, int opens)
{
    umask(022);
    int before = descriptors();
    for (int i = 1; i <= opens; i++) {
        char step[32];
        snprintf(step, sizeof step, "open%d", i);
        if (i == opens)
            mark();
        errno = UNTOUCHED;
        int fd = open_it(mode), error = errno;
        if (i == opens)
            unmark();
        tell(step, fd >= 0, error);
        if (fd >= 0) {
            use(fd, mode);
            close(fd);
        }
    }
    if (descriptors() != before)
        say("descriptors %+d", descriptors() - before);
}

static void first_0600(void) { opened(0600, 1); }
static void first_0644(void) { opened(0644, 1); }
static void later_0600(void) { opened(0600, 2); }
static void later_0644(void) { opened(0644, 2); }

// What keeps a name is removed at the end.
static void ending(void)
{
    umask(022);
    int fd = open_it(0644);
    if (fd < 0)
        return tell("open", 0, errno);
    use(fd, 0644);
    close(fd);
    say("ends");
    mark();
    exit(0);
}

// O_EXCL: such a file is never to have a name.
static void published(int excl)
{
    char path[64], content[64] = "";
    struct stat status;
    umask(022);
    int before = descriptors();
    int fd = open(".", O_RDWR | O_TMPFILE | O_CLOEXEC | (excl ? O_EXCL : 0), 0644);
    if (fd < 0)
        return tell("open", 0, errno);
    use(fd, 0644);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    mark();
    errno = UNTOUCHED;
    int ok = linkat(AT_FDCWD, path, AT_FDCWD, "target", AT_SYMLINK_FOLLOW) == 0, error = errno;
    unmark();
    tell("linkat", ok, error);
    // Whatever it came to, the program goes on with its descriptor; after success that is the file which has the name.
    if (lseek(fd, 0, SEEK_CUR) != (off_t)strlen(CONTENT))
        say("offset %ld", (long)lseek(fd, 0, SEEK_CUR));
    if (write(fd, ", and more", 10) != 10)
        say("write %s", strerrorname_np(errno));
    if (ok) {
        int again = open("target", O_RDONLY | O_CLOEXEC);
        if (again < 0 || read(again, content, sizeof content - 1) < 0 || strcmp(content, CONTENT ", and more") != 0)
            say("content %s", content);
        if (again < 0 || fstat(again, &status) != 0 || (status.st_mode & 07777) != 0644)
            say("mode %o", again < 0 ? 0 : status.st_mode & 07777);
        close(again);
        unlink("target");
    } else if (access("target", F_OK) == 0) {
        say("target is there");
        unlink("target");
    }
    close(fd);
    if (descriptors() != before)
        say("descriptors %+d", descriptors() - before);
}

static void publish(void) { published(0); }
static void publish_exclusive(void) { published(1); }

static const char *in(const char *directory, const char *name)
{
    static char path[4200];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void put(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1)
        abort();
    close(fd);
}

static void fill(const char *directory)
{
    put(in(directory, "file"));
    if (mkdir(in(directory, "sub"), 0700) != 0 || mkdir(in(directory, "sub/closed"), 0) != 0)
        abort();
    put(in(directory, "sub/file"));
    if (symlink("../../canary", in(directory, "link")) != 0)
        abort();
}

// Makes a directory as the program would see it made.
static void make(const char *step, int filled)
{
    char directory[] = "d.XXXXXX";
    struct stat status;
    errno = UNTOUCHED;
    int ok = mkdtemp(directory) == directory, error = errno;
    unmark();
    tell(step, ok, error);
    if (!ok)
        return;
    if (stat(directory, &status) != 0 || (status.st_mode & 07777) != 0700)
        say("mode %o", status.st_mode & 07777);
    if (filled)
        fill(directory);
}

static void mkdtemps(int directories, int filled)
{
    int before = descriptors();
    for (int i = 1; i <= directories; i++) {
        char step[32];
        snprintf(step, sizeof step, "mkdtemp%d", i);
        if (i == directories)
            mark();
        make(step, filled);
    }
    if (descriptors() != before)
        say("descriptors %+d", descriptors() - before);
}

static void mkdtemp_first(void) { mkdtemps(1, 1); }
static void mkdtemp_later(void) { mkdtemps(2, 0); }
// One that is left empty: of a directory whose making could not be noted to the end, no more is ever removed.
static void mkdtemp_empty(void) { mkdtemps(1, 0); }
// The journal has room for 64 at first.
static void mkdtemp_65th(void) { mkdtemps(65, 0); }

static void tracked(mode_t mode)
{
    int before = descriptors();
    mark();
    errno = UNTOUCHED;
    int ok = mkdir("tracked.one", mode) == 0, error = errno;
    unmark();
    tell("mkdir", ok, error);
    if (descriptors() != before)
        say("descriptors %+d", descriptors() - before);
}

static void mkdir_tracked(void) { tracked(0700); }
static void mkdir_tracked_0755(void) { tracked(0755); }

static void made_two(void)
{
    unmark();
    make("earlier1", 1);
    make("earlier2", 0);
    say("ends");
}

static void ends_exit(void)
{
    made_two();
    mark();
    exit(0);
}

static void ends_quickly(void)
{
    made_two();
    mark();
    _exit(3);
}

static void ends_by_signal(void)
{
    made_two();
    mark();
    kill(getpid(), SIGTERM);
}

static void ends_by_fault(void)
{
    made_two();
    mark();
    *(volatile int *)NULL = 1;
}

// What is dead has left a journal; whoever makes the next directory cleans up.
static void after_the_dead(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        made_two();
        kill(getpid(), SIGKILL);
    }
    waitpid(pid, NULL, 0);
    mark();
    make("mkdtemp1", 0);
}

static void leave(void)
{
    made_two();
    kill(getpid(), SIGKILL);
}

// The child ends after its parent and removes what both have made.
static void heir(int makes)
{
    int parent[2], child[2];
    char byte;
    made_two();
    if (pipe2(parent, O_CLOEXEC) != 0 || pipe2(child, O_CLOEXEC) != 0)
        abort();
    pid_t pid = fork();
    if (pid == 0) {
        close(parent[1]);
        close(child[0]);
        if (makes)
            make("mkdtemp3", 1);
        if (write(child[1], "x", 1) != 1 || read(parent[0], &byte, 1) != 0)
            abort();
        exit(0);
    }
    close(child[1]);
    if (read(child[0], &byte, 1) != 1)
        abort();
    mark();
    exit(0);
}

static void heirs_end(void) { heir(0); }
static void heirs_end_after_making(void) { heir(1); }

// A program that is started lives on, and the directories with it.
static void child_lives(void)
{
    int in[2], out[2];
    char byte;
    made_two();
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        abort();
    pid_t pid = fork();
    if (pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execl("/proc/self/exe", "victim", "wait", (char *)NULL);
        abort();
    }
    close(in[0]);
    close(out[1]);
    if (read(out[0], &byte, 1) != 1)
        abort();
    mark();
    exit(0);
}

static void wait_for_input(void)
{
    char byte;
    if (write(1, "x", 1) != 1 || read(0, &byte, 1) != 0)
        abort();
}

// All of it, from the first instruction on: for what stands around a program.
static void whole(void)
{
    umask(022);
    mark();
    for (int i = 1; i <= 2; i++) {
        char step[32];
        snprintf(step, sizeof step, "open%d", i);
        errno = UNTOUCHED;
        int fd = open_it(0644), error = errno;
        tell(step, fd >= 0, error);
        if (fd < 0)
            continue;
        use(fd, 0644);
        errno = UNTOUCHED;
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int ok = linkat(AT_FDCWD, path, AT_FDCWD, "target", AT_SYMLINK_FOLLOW) == 0;
        tell("linkat", ok, errno);
        if (ok && unlink("target") != 0)
            say("target %s", strerrorname_np(errno));
        close(fd);
    }
    errno = UNTOUCHED;
    int ok = (int)syscall(SYS_mkdirat, AT_FDCWD, "tracked.one", 0700) == 0;
    tell("mkdir", ok, errno);
    say("ends");
}

static void idle(void) { say("ends"); }

static const struct { const char *name; void (*play)(void); } roles[] = {
    { "first_0600", first_0600 },
    { "first_0644", first_0644 },
    { "later_0600", later_0600 },
    { "later_0644", later_0644 },
    { "ending", ending },
    { "publish", publish },
    { "publish_exclusive", publish_exclusive },
    { "mkdtemp_first", mkdtemp_first },
    { "mkdtemp_later", mkdtemp_later },
    { "mkdtemp_empty", mkdtemp_empty },
    { "mkdtemp_65th", mkdtemp_65th },
    { "mkdir_tracked", mkdir_tracked },
    { "mkdir_tracked_0755", mkdir_tracked_0755 },
    { "exit", ends_exit },
    { "_exit", ends_quickly },
    { "signal", ends_by_signal },
    { "fault", ends_by_fault },
    { "after_the_dead", after_the_dead },
    { "leave", leave },
    { "heir", heirs_end },
    { "heir_that_makes", heirs_end_after_making },
    { "child_lives", child_lives },
    { "wait", wait_for_input },
    { "whole", whole },
    { "idle", idle },
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof roles / sizeof *roles; i++)
        if (strcmp(roles[i].name, argv[1]) == 0) {
            roles[i].play();
            close(-424244);
            return 0;
        }
    return 64;
}
