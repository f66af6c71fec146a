// D3: threads. What a thread makes is the process's: it outlives the thread, and the first thread too, and goes when the last
// thread ends the process.
#include "lives.h"

#include <pthread.h>

static void *make(void *unused)
{
    (void)unused;
    make_with_content((char[]) { "d.XXXXXX" });
    return NULL;
}

static void *live_and_exit(void *unused)
{
    (void)unused;
    live_as_image();
    exit(3);
}

static void *live_and_return(void *unused)
{
    live_as_image();
    return unused;
}

static void *wait_for_ever(void *unused)
{
    pause();
    return unused;
}

static pthread_t begin(void *(*part)(void *))
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, part, NULL) == 0);
    return thread;
}

static void the_maker_ends(void)
{
    CHECK(pthread_join(begin(make), NULL) == 0);
    live_as_image();
    exit(3);
}

// From here on /proc shows the process as a zombie.
static void the_first_thread_ends(void)
{
    make(NULL);
    begin(live_and_exit);
    pthread_exit(NULL);
}

// The process ends because no thread is left: with status 0, as if one had called exit.
static void every_thread_ends(void)
{
    make(NULL);
    begin(live_and_return);
    pthread_exit(NULL);
}

static void a_thread_is_signalled(void)
{
    make(NULL);
    pthread_t thread = begin(wait_for_ever);
    live_as_image();
    pthread_kill(thread, SIGTERM);
    pause();
}

static const struct {
    const char *role;
    void (*play)(void);
    int status, signal;
} ways[] = {
    { "the maker ends", the_maker_ends, 3, 0 },
    { "the first thread ends", the_first_thread_ends, 3, 0 },
    { "every thread ends", every_thread_ends, 0, 0 },
    { "a thread is signalled", a_thread_is_signalled, 0, SIGTERM },
};

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (argc > 2 && strcmp(argv[2], ways[i].role) == 0)
            ways[i].play();
    observe();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        // An image of its own: with musl the first thread of a forked process cannot end before the others.
        struct image image = start_image(ways[i].role);
        check_held(1, ways[i].role);
        int status = let_go(&image);
        CHECKF(ways[i].signal ? killed(status, ways[i].signal) : exited(status, ways[i].status), "%s: status %#x",
               ways[i].role, status);
        check_gone(ways[i].role);
    }
    return 0;
}
