// S3: in a fresh program one thread opens its first file with O_TMPFILE while another forks. Whatever is made ready for the
// former is there in the child, or is not; the child's own open works either way. `program DIR ROUNDS`: as many programs.
#include "victim.h"

#include <pthread.h>
#include <stdatomic.h>

static const char *directory;
static atomic_int begun;

static void open_one(void)
{
    int fd = OPEN(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, "abc", 3) == 3 && close(fd) == 0);
}

static void *open_first(void *unused)
{
    (void)unused;
    atomic_store(&begun, 1);
    open_one();
    return NULL;
}

// One round, in an image that has opened nothing yet; the later the fork the higher `delay` is.
static int fresh(int delay)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, open_first, NULL) == 0);
    while (!atomic_load(&begun))
        ;
    for (volatile int i = 0; i < delay; i++)
        ;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        open_one();
        _exit(5);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    return exited(ended(pid), 5) ? 0 : 1;
}

int main(int argc, char **argv)
{
    CHECK(argc == 3 || argc == 4);
    directory = argv[1];
    if (argc == 4)
        return fresh(atoi(argv[3]));
    for (int round = 0; round < atoi(argv[2]); round++) {
        char delay[16];
        snprintf(delay, sizeof delay, "%d", round % 50 * 4000);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            execl("/proc/self/exe", argv[0], directory, argv[2], delay, NULL);
            _exit(127);
        }
        int status = ended(pid);
        CHECKF(exited(status, 0), "round %d: status %#x", round, status);
    }
    return 0;
}
