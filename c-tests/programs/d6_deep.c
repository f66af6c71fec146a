// D6: 3,000 levels, with 64 descriptors and no path that reaches the lower ones, by exit and by signal on a stack of 64
// kilobytes, or the least that there may be (128 on AArch64): neither descriptors nor stack may grow with the depth.
#include "victim.h"

#include <limits.h>
#include <pthread.h>

#define LEVELS 3000
#define STACK ((size_t)PTHREAD_STACK_MIN > 65536 ? (size_t)PTHREAD_STACK_MIN : 65536)

static void dig(void)
{
    char dir[] = "d.XXXXXX";
    int back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(mkdtemp(dir) == dir && chdir(dir) == 0);
    for (int i = 0; i < LEVELS; i++) {
        CHECK(mkdir("level", 0700) == 0);
        // Beside the way down, something to come back for.
        if (i % 100 == 0) {
            put("file", "x");
            CHECK(mkdir("other", 0700) == 0);
        }
        CHECK(chdir("level") == 0);
    }
    CHECK(fchdir(back) == 0);
    struct rlimit few = { 64, 64 };
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
}

static void by_exit(const void *unused) { (void)unused; dig(); }
static void by_signal(const void *unused) { (void)unused; dig(); raise(SIGTERM); }

static void *die(void *unused)
{
    (void)unused;
    raise(SIGTERM);
    return NULL;
}

static void on_small_stack(const void *unused)
{
    (void)unused;
    pthread_t t;
    pthread_attr_t small;
    dig();
    CHECK(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, STACK) == 0);
    CHECK(pthread_create(&t, &small, die, NULL) == 0);
    pthread_join(t, NULL);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    part *ways[] = { by_exit, by_signal, on_small_stack };
    for (int w = 0; w < 3; w++) {
        int status = watch(ways[w], NULL);
        GIVE_TIME_UNTIL(count_names(".", "") == 0);
        int left = count_names(".", "");
        // What is left is too deep for most programs that would clear up after a failure.
        DIR *d = opendir(".");
        for (struct dirent *e; (e = readdir(d));)
            if (e->d_name[0] == 'd')
                scrub(e->d_name);
        closedir(d);
        CHECKF(w ? killed(status, SIGTERM) : exited(status, 0), "way %d: status %#x", w, status);
        CHECKF(left == 0, "way %d", w);
    }
    return 0;
}
