// T3 and T6: the file can be opened again through /proc/self/fd/N, for reading and for writing, from any thread, and read by
// all of them at once. Clair does this.
#include "check.h"
#include <pthread.h>

#define THREADS 8
#define SIZE (256 * 1024)

static int file;
static unsigned char expected[SIZE];

static void *read_all(void *unused)
{
    unsigned char *buffer = malloc(SIZE);
    for (int round = 0; round < 10; round++) {
        int again = open(fd_path(file), O_RDONLY | O_CLOEXEC);
        CHECK(again >= 0);
        for (size_t done = 0; done < SIZE;) {
            ssize_t got = pread(round % 2 ? file : again, buffer + done, SIZE - done, (off_t)done);
            CHECK(got > 0);
            done += (size_t)got;
        }
        CHECK(memcmp(buffer, expected, SIZE) == 0);
        CHECK(close(again) == 0);
    }
    free(buffer);
    return unused;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    file = OPEN(argv[1], O_RDWR | O_TMPFILE | O_CLOEXEC, 0644);
    CHECK(file >= 0);
    for (size_t i = 0; i < SIZE; i++)
        expected[i] = (unsigned char)(i * 2654435761u >> 13);
    CHECK(write(file, expected, SIZE) == SIZE);

    int writer = open(fd_path(file), O_RDWR | O_CLOEXEC);
    CHECK(writer >= 0 && pwrite(writer, "again", 5, 0) == 5 && close(writer) == 0);
    memcpy(expected, "again", 5);

    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, read_all, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    return 0;
}
