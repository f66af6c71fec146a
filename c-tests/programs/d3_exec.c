// D3: a program that becomes another one keeps its directories as long as the new one lives, with the library in it or
// without. If the new one makes some too, its end removes them all; otherwise the next process that tracks something does,
// or a sweep.
#include "lives.h"

#include <pthread.h>

// The new program's part. Each waits for its end, and returns what main is to return.
static int only_live(void)
{
    live_as_image();
    return 3;
}

static int make_too(void)
{
    make_with_content((char[]) { "d.XXXXXX" });
    return only_live();
}

static int become_another(void)
{
    execl("/proc/self/exe", "image", ".", "only live", (char *)NULL);
    return 1;
}

static int be_ended(void)
{
    live_as_image();
    return raise(SIGTERM);
}

static int be_killed(void)
{
    live_as_image();
    return raise(SIGKILL);
}

static const struct {
    const char *name;
    int (*play)(void);
} roles[] = {
    { "only live", only_live }, { "make too", make_too }, { "become another", become_another },
    { "be ended", be_ended }, { "be killed", be_killed },
};

static const struct way {
    const char *name, *role;
    int directories;
    int signal;
    // Whether the new program's end is enough.
    int goes_by_itself;
    // How it comes to be.
    int without_library, from_thread, beside_fork;
} ways[] = {
    { "it lives", "only live", .directories = 1 },
    { "it lives without the library", "only live", .directories = 1, .without_library = 1 },
    { "it becomes a third one", "become another", .directories = 1 },
    { "a signal ends it", "be ended", .directories = 1, .signal = SIGTERM },
    { "it is killed", "be killed", .directories = 1, .signal = SIGKILL },
    { "it makes one too", "make too", .directories = 2, .goes_by_itself = 1 },
    { "a thread became it", "only live", .directories = 1, .from_thread = 1 },
    // A process that was forked before, and holds the directory too, ends while the new program lives.
    { "a forked one ends", "only live", .directories = 1, .beside_fork = 1 },
};

static void *become(void *arg)
{
    extern char **environ;
    const struct way *way = arg;
    // A library in LD_PRELOAD is not in a program that is started without it.
    execve("/proc/self/exe", (char *const[]) { "image", ".", (char *)way->role, NULL },
           way->without_library ? (char *[]) { NULL } : environ);
    CHECKF(0, "exec");
    return NULL;
}

static void make_and_become(const struct way *way)
{
    pthread_t thread;
    make_with_content((char[]) { "d.XXXXXX" });
    if (way->beside_fork) {
        // Nobody is to wait for it.
        signal(SIGCHLD, SIG_IGN);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            EVENTUALLY(exists("go"));
            CHECK(unlink("go") == 0);
            exit(0);
        }
    }
    if (way->from_thread)
        CHECK(pthread_create(&thread, NULL, become, (void *)way) == 0 && pthread_join(thread, NULL) == 0);
    become((void *)way);
}

static int play(const char *role)
{
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (strcmp(role, ways[i].name) == 0)
            make_and_become(&ways[i]);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, roles[i].name) == 0)
            return roles[i].play();
    return 1;
}

// The forked process is a child of the image, and has no name that its exit would not free.
static int has_children(pid_t pid)
{
    char path[64], byte;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    ssize_t got = read(fd, &byte, 1);
    close(fd);
    return got > 0;
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    if (argc > 2)
        return play(argv[2]);
    observe();
    for (size_t i = 0; i < 2 * sizeof ways / sizeof *ways; i++) {
        // Each twice, since there are two ways to recover.
        const struct way *way = &ways[i / 2];
        struct image image = start_image(way->name);
        check_held(way->directories, way->name);
        if (way->beside_fork) {
            put("go", "");
            EVENTUALLY(!has_children(image.pid));
            check_held(way->directories, way->name);
        }
        int status = let_go(&image);
        CHECKF(way->signal ? killed(status, way->signal) : exited(status, 3), "%s: status %#x", way->name, status);
        if (way->goes_by_itself)
            check_gone(way->name);
        else
            check_gone_after_recovery(way->name);
    }
    return 0;
}
