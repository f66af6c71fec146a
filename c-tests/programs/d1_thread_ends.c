// D1: a forked process makes its first directory in the instant when its only other thread ends. It is tracked all the same: to
// the kernel, memory that such a thread still has looks like a guest's, which could not clean up.
#include "victim.h"

#include <pthread.h>

enum { ROUNDS = 12000 };

static void *end(void *round)
{
    // The end meets every part of what the other one does.
    for (volatile int n = *(const int *)round % 100 * 20; n > 0; n--)
        ;
    return NULL;
}

static void play(const void *round)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, end, (void *)round) == 0);
    char dir[] = "d.XXXXXX";
    CHECK(mkdtemp(dir));
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    for (int n = 0; n < ROUNDS; n++) {
        int status = watch(play, &n);
        CHECKF(exited(status, 0), "round %d: status %#x", n, status);
        CHECKF(count_names(".", "d.") == 0, "round %d: it stays", n);
    }
    return 0;
}
