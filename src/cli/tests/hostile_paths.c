/* A program that changes the path while its call is being looked at: `hostile_paths OPEN CLOSED TRIES`, two directories whose
 * names are of the same length. Says in how many of the calls it got a file in each. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

#include "check.h"

static char path[4096];
static volatile int stop, begun;
static char *const *names;

static void *swap(void *nothing)
{
    for (unsigned round = 0; !stop; round++) {
        memcpy(path, names[round & 1], strlen(names[0]));
        begun = 1;
    }
    return nothing;
}

int main(int count, char **arguments)
{
    pthread_t thread;
    int in_open = 0, in_closed = 0;
    names = arguments + 1;
    CHECK(count == 4 && strlen(names[0]) == strlen(names[1]));
    CHECK(pthread_create(&thread, NULL, swap, NULL) == 0);
    while (!begun)
        ;
    for (int i = atoi(arguments[3]); i > 0; i--) {
        char link[64], text[4096] = "";
        int fd = open(path, O_TMPFILE | O_RDWR, 0600);
        if (fd < 0)
            continue;
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        CHECK(readlink(link, text, sizeof text - 1) > 0);
        in_open += strncmp(text, names[0], strlen(names[0])) == 0;
        in_closed += strncmp(text, names[1], strlen(names[1])) == 0;
        close(fd);
    }
    stop = 1;
    pthread_join(thread, NULL);
    printf("open %s, closed %s\n", in_open ? "yes" : "no", in_closed ? "yes" : "no");
    return 0;
}
