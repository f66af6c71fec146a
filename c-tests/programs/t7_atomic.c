// T7: a reader never finds a part of the file under its name, however often it looks, and of two publishers that want one
// name exactly one gets it. The second argument says how often this is tried.
#include "check.h"

#define SIZE (1024 * 1024)
#define ROUNDS 40

static unsigned char data[SIZE], back[SIZE];

static void read_until_gone(void)
{
    int whole = 0;
    while (access("stop", F_OK) != 0) {
        int fd = open("name", O_RDONLY);
        if (fd < 0) {
            CHECK(errno == ENOENT);
            continue;
        }
        size_t done = 0;
        for (ssize_t got; (got = read(fd, back + done, SIZE - done)) > 0;)
            done += (size_t)got;
        CHECK(done == SIZE && memcmp(back + 1, data + 1, SIZE - 1) == 0);
        CHECK(close(fd) == 0);
        whole++;
    }
    CHECK(whole > 0);
}

int main(int argc, char **argv)
{
    CHECK(argc >= 2 && chdir(argv[1]) == 0);
    int rounds = argc == 2 ? ROUNDS : atoi(argv[2]);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (unsigned char)(i * 2654435761u >> 11) | 1;
    fflush(NULL);
    pid_t reader = fork();
    CHECK(reader != -1);
    if (reader == 0) {
        read_until_gone();
        exit(0);
    }
    for (int round = 0; round < rounds; round++) {
        pid_t publishers[2];
        for (int i = 0; i < 2; i++)
            if ((publishers[i] = fork()) == 0) {
                int fd = OPEN(".", O_RDWR | O_TMPFILE, 0600);
                CHECK(fd >= 0);
                data[0] = (unsigned char)i;
                CHECK(write(fd, data, SIZE) == SIZE);
                if (linkat(AT_FDCWD, fd_path(fd), AT_FDCWD, "name", AT_SYMLINK_FOLLOW) == 0)
                    exit(0);
                CHECK(errno == EEXIST);
                exit(7);
            }
        int one = exit_of(publishers[0]), two = exit_of(publishers[1]);
        CHECK((one == 0 && two == 7) || (one == 7 && two == 0));
        // A supervisor looks once a second for hidden names (T6) whose file is closed.
        GIVE_TIME_UNTIL(count_names(".", ".tmpshim-") == 0);
        CHECK(count_names(".", ".tmpshim-") == 0);
        CHECK(unlink("name") == 0);
    }
    // The reader sees the last one, if no other.
    int fd = OPEN(".", O_RDWR | O_TMPFILE, 0600);
    CHECK(fd >= 0 && write(fd, data, SIZE) == SIZE);
    CHECK(linkat(AT_FDCWD, fd_path(fd), AT_FDCWD, "name", AT_SYMLINK_FOLLOW) == 0);
    usleep(100000);
    CHECK(close(open("stop", O_WRONLY | O_CREAT, 0600)) == 0 && exit_of(reader) == 0);
    CHECK(unlink("stop") == 0 && unlink("name") == 0);
    return 0;
}
