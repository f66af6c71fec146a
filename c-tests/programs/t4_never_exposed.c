// T4: while thousands of world-writable files are made, another user who watches the directory and tries every name at
// once never gets one open, nor a link to it. The names he sees are ours. Starts as root. Names that libfuse makes are the
// server's, and not counted; a second argument gives another mode, and then links are not counted either, because the
// server keeps a name.
#include "check.h"
#include <grp.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define USER 65534

static struct {
    volatile int ready, stop, seen, foreign, opened, linked;
} *shared;

static void try(const char *name)
{
    if (strncmp(name, ".fuse_hidden", 12) == 0 || strcmp(name, "stolen") == 0 || strncmp(name, "..", 3) == 0 || !name[1])
        return;
    __sync_fetch_and_add(strncmp(name, ".tmpshim-", 9) == 0 ? &shared->seen : &shared->foreign, 1);
    static const int flags[] = { O_RDONLY, O_WRONLY, O_RDWR | O_NONBLOCK };
    for (int i = 0; i < 3; i++) {
        int fd = open(name, flags[i]);
        if (fd >= 0) {
            __sync_fetch_and_add(&shared->opened, 1);
            close(fd);
        }
    }
    if (link(name, "stolen") == 0) {
        __sync_fetch_and_add(&shared->linked, 1);
        unlink("stolen");
    }
}

static void watch_events(void)
{
    _Alignas(struct inotify_event) char buffer[65536];
    int watch = inotify_init1(IN_NONBLOCK);
    CHECK(watch >= 0 && inotify_add_watch(watch, ".", IN_CREATE | IN_MOVED_TO) >= 0);
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

int main(int argc, char **argv)
{
    CHECK(argc >= 2 && chdir(argv[1]) == 0);
    mode_t mode = argc == 2 ? 0666 : strtoul(argv[2], NULL, 8);
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
    // Through a supervisor it takes longer.
    int files = by_supervisor() ? 500 : 2000;
    for (int i = 0; i < files; i++) {
        int fd = OPEN(".", O_RDWR | O_TMPFILE, mode);
        CHECK(fd >= 0 && mode_is(fd, mode) && close(fd) == 0);
    }
    shared->stop = 1;
    CHECK(exit_of(attackers[0]) == 0 && exit_of(attackers[1]) == 0);
    unlink("stolen");
    if (shared->opened != 0 || (shared->linked != 0 && argc == 2))
        fprintf(stderr, "%d of %d tries opened a file, %d linked one\n", shared->opened, shared->seen, shared->linked);
    CHECK(shared->opened == 0);
    CHECK(shared->linked == 0 || argc > 2);
    CHECK(shared->foreign == 0);
    // Otherwise nothing was attacked: each of the files has a name for a moment.
    CHECK(shared->seen >= files);
    return 0;
}
