// T5: SIGKILL at every system call of a program that opens a file with O_TMPFILE where there is none, and of one that
// publishes it. The next sweep, or the next process that does something of the kind, leaves no name of ours; what was
// published is there as a whole or not at all.
#include "kill_points.h"

#define CONTENT "all of it"

static int open_it(mode_t mode)
{
    int fd = open(".", O_RDWR | O_TMPFILE, mode);
    CHECK(fd >= 0);
    return fd;
}

static void opened(mode_t mode)
{
    mark();
    open_it(mode);
    die_of_kill();
}

// Where the file has to keep a name, the end of the program is to remove it.
static void closed(mode_t mode)
{
    int fd = open_it(mode);
    CHECK(write(fd, CONTENT, strlen(CONTENT)) == (ssize_t)strlen(CONTENT));
    mark();
    CHECK(close(fd) == 0);
    exit(0);
}

static void published(mode_t mode)
{
    int fd = open_it(mode);
    CHECK(write(fd, CONTENT, strlen(CONTENT)) == (ssize_t)strlen(CONTENT));
    mark();
    CHECK(linkat(AT_FDCWD, fd_path(fd), AT_FDCWD, "target", AT_SYMLINK_FOLLOW) == 0);
    die_of_kill();
}

static void opened_private(const void *unused) { (void)unused; opened(0600); }
static void opened_shared(const void *unused) { (void)unused; opened(0644); }
static void closed_private(const void *unused) { (void)unused; closed(0600); }
static void published_private(const void *unused) { (void)unused; published(0600); }
static void published_shared(const void *unused) { (void)unused; published(0644); }

static void leave_one(const void *unused)
{
    (void)unused;
    open_it(0644);
}

static void check_target(void)
{
    struct stat status;
    if (lstat("target", &status) != 0)
        return;
    CHECKF(holds("target", CONTENT) && (status.st_mode & 07177 & ~0044) == 0, "a part, or mode %#o", status.st_mode);
    CHECK(unlink("target") == 0);
}

static const struct scenario scenarios[] = {
    { .name = "open_0600", .victim = opened_private, .signal = SIGKILL },
    { .name = "open_0644", .victim = opened_shared, .signal = SIGKILL },
    { .name = "close", .victim = closed_private },
    { .name = "later", .victim = opened_shared, .signal = SIGKILL, .before = leave_one, .before_count = 2 },
    { .name = "publish_0600", .victim = published_private, .signal = SIGKILL, .after = check_target },
    { .name = "publish_0644", .victim = published_shared, .signal = SIGKILL, .after = check_target },
};

static void next_open(void)
{
    IN_CHILD(CHECK(close(open_it(0600)) == 0));
}

int main(int argc, char **argv)
{
    void (*const ways[])(void) = { sweep, next_open, next_process };
    return kill_matrix(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios, ways, 3) ? 0 : 1;
}
