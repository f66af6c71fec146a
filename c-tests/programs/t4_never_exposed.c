// T4: while thousands of files are made, another user who watches the directory and tries every name at once never gets
// one open, nor a link to it. The names he sees are ours. Starts as root, with no umask, in a directory for everybody.
// First the same attack on the shortest shim there is, which has to succeed, or it would show nothing.
//
// argv[2] is the mode of all files, or "" for several by turns; with a mode, links are not counted, because the server keeps
// a name then that is its own (.fuse_hidden), and not looked at. argv[3], "publish": the files are given names, and count
// until then.
#include "check.h"
#include <grp.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define USER 65534

static struct {
    volatile int ready, stop, seen, foreign, opened, linked, turn;   // no two files have the same turn
} *shared;
static const char *const naive = ".tmpshim-naive";

static const char *final_name(int turn)
{
    static char name[32];
    snprintf(name, sizeof name, "published-%d", turn);
    return name;
}

// Whether this turn's file has not got its name yet.
static int is_early(int turn)
{
    struct stat status;
    return lstat(final_name(turn), &status) != 0 && errno == ENOENT && shared->turn == turn;
}

static void try(const char *name)
{
    if (strncmp(name, ".fuse_hidden", 12) == 0 || strcmp(name, "stolen") == 0 || strncmp(name, "..", 3) == 0 ||
        !name[1] || strncmp(name, "published-", 10) == 0)
        return;
    __sync_fetch_and_add(strncmp(name, ".tmpshim-", 9) == 0 ? &shared->seen : &shared->foreign, 1);
    static const int flags[] = { O_RDONLY, O_WRONLY, O_RDWR | O_NONBLOCK };
    for (int i = 0; i < 3; i++) {
        int turn = shared->turn;
        int fd = open(name, flags[i]);
        if (fd >= 0) {
            if (is_early(turn))
                __sync_fetch_and_add(&shared->opened, 1);
            close(fd);
        }
    }
    int turn = shared->turn;
    if (link(name, "stolen") == 0) {
        if (is_early(turn))
            __sync_fetch_and_add(&shared->linked, 1);
        unlink("stolen");
    }
}

static void watch_events(void)
{
    _Alignas(struct inotify_event) char buffer[65536];
    int watch = inotify_init1(IN_NONBLOCK);
    CHECK(watch >= 0 && inotify_add_watch(watch, ".", IN_CREATE | IN_MOVED_TO | IN_ATTRIB) >= 0);
    __sync_fetch_and_add(&shared->ready, 1);
    for (int last = 0; !last;) {
        last = shared->stop;
        for (ssize_t length; (length = read(watch, buffer, sizeof buffer)) > 0;)
            for (char *at = buffer; at < buffer + length;) {
                struct inotify_event *event = (struct inotify_event *)at;
                if (event->len > 0)
                    try(event->name);
                at += sizeof *event + event->len;
            }
    }
}

static void watch_names(void)
{
    __sync_fetch_and_add(&shared->ready, 1);
    while (!shared->stop) {
        DIR *stream = opendir(".");
        CHECK(stream != NULL);
        for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
            try(entry->d_name);
        closedir(stream);
    }
}

static void clear(void)
{
    for (int turn = shared->turn; turn > 0; turn--)
        unlink(final_name(turn));
    // What is tried late was the last phase's.
    shared->turn++;
    unlink(naive);
    unlink("stolen");
    shared->seen = shared->opened = shared->linked = 0;
}

// What a shim does that only has to work.
static int naive_file(mode_t mode, int publishes)
{
    int fd = open(naive, O_RDWR | O_CREAT | O_EXCL, mode);
    CHECK(fd >= 0 && write(fd, "secret", 6) == 6);
    CHECK(!publishes || link(naive, final_name(shared->turn)) == 0);
    CHECK(unlink(naive) == 0);
    return fd;
}

static int our_file(mode_t mode, int publishes)
{
    int fd = OPEN(".", O_RDWR | O_TMPFILE, mode);
    CHECK(fd >= 0 && (publishes || mode_is(fd, mode)) && write(fd, "secret", 6) == 6);
    CHECK(!publishes || linkat(AT_FDCWD, fd_path(fd), AT_FDCWD, final_name(shared->turn), AT_SYMLINK_FOLLOW) == 0);
    struct stat status;
    CHECK(!publishes || (stat(final_name(shared->turn), &status) == 0 && (status.st_mode & 07777) == mode));
    return fd;
}

int main(int argc, char **argv)
{
    CHECK(argc >= 2 && chdir(argv[1]) == 0 && chmod(".", 01777) == 0);
    mode_t only = argc > 2 && *argv[2] ? strtoul(argv[2], NULL, 8) : 0;
    int publishes = argc > 3 && strcmp(argv[3], "publish") == 0;
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    pid_t attackers[2];
    for (int i = 0; i < 2; i++)
        if ((attackers[i] = fork()) == 0) {
            CHECK(setgroups(0, NULL) == 0 && setgid(USER) == 0 && setuid(USER) == 0);
            CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
            i == 0 ? watch_events() : watch_names();
            _exit(0);
        }
    EVENTUALLY(shared->ready == 2);
    umask(0);
    // Through a supervisor, and with names, it takes longer.
    int files = publishes ? 300 : by_supervisor() ? 500 : 2000;
    double deadline = seconds() + 30;
    while (shared->opened == 0 && seconds() < deadline) {
        shared->turn++;
        CHECK(close(naive_file(0666, publishes)) == 0);
    }
    CHECK(shared->opened > 0);
    // Where it took many to get one, it may take as many again.
    if (files < 2 * shared->turn)
        files = 2 * shared->turn;
    clear();
    static const mode_t modes[] = { 0666, 0644, 0600 };
    for (int i = 0; i < files; i++) {
        shared->turn++;
        CHECK(close(our_file(only ? only : modes[i % 3], publishes)) == 0);
    }
    shared->stop = 1;
    CHECK(exit_of(attackers[0]) == 0 && exit_of(attackers[1]) == 0);
    if (shared->opened != 0 || (shared->linked != 0 && !only))
        fprintf(stderr, "%d of %d tries opened a file, %d linked one\n", shared->opened, shared->seen, shared->linked);
    CHECK(shared->opened == 0);
    CHECK(shared->linked == 0 || only);
    CHECK(shared->foreign == 0);
    // Otherwise nothing was attacked: each of the files has a name for a moment.
    CHECK(shared->seen >= files);
    clear();
    return 0;
}
