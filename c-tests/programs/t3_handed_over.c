// T3: the file goes wherever descriptors go: to a forked child, through exec unless O_CLOEXEC was asked for, and through a
// socket.
#include "check.h"
#include <sys/socket.h>

static void pass(int socket, int fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec byte = { "x", 1 };
    struct msghdr message = { .msg_iov = &byte, .msg_iovlen = 1, .msg_control = &control,
                              .msg_controllen = sizeof control };
    control.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    CHECK(sendmsg(socket, &message, 0) == 1);
}

static int receive(int socket)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    char text;
    struct iovec byte = { &text, 1 };
    struct msghdr message = { .msg_iov = &byte, .msg_iovlen = 1, .msg_control = &control,
                              .msg_controllen = sizeof control };
    int fd;
    CHECK(recvmsg(socket, &message, 0) == 1);
    memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
    return fd;
}

static void reads(int fd, const char *text)
{
    char back[16];
    CHECK(pread(fd, back, sizeof back, 0) == (ssize_t)strlen(text) && memcmp(back, text, strlen(text)) == 0);
}

int main(int argc, char **argv)
{
    // As the new program after exec: argv[2] and argv[3] are descriptors, the first kept and the second not.
    if (argc == 4) {
        reads(atoi(argv[2]), "kept");
        CHECK(write(atoi(argv[2]), "more", 4) == 4);
        CHECK_FAILS(fcntl(atoi(argv[3]), F_GETFD), EBADF);
        return 0;
    }
    CHECK(argc == 2);
    int kept = OPEN(argv[1], O_RDWR | O_TMPFILE, 0600);
    int dropped = OPEN(argv[1], O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    CHECK(kept >= 0 && dropped >= 0 && write(kept, "kept", 4) == 4);
    IN_CHILD({
        char one[16];
        char two[16];
        snprintf(one, sizeof one, "%d", kept);
        snprintf(two, sizeof two, "%d", dropped);
        execl("/proc/self/exe", argv[0], argv[1], one, two, NULL);
        CHECK(!"exec");
    });
    reads(kept, "keptmore");

    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    pid_t child = fork();
    CHECK(child != -1);
    if (child == 0) {
        // Made by a child that is gone before the file is used.
        int made = OPEN(argv[1], O_RDWR | O_TMPFILE, 0600);
        CHECK(made >= 0 && write(made, "sent", 4) == 4);
        pass(pair[1], made);
        exit(0);
    }
    int got = receive(pair[0]);
    CHECK(exit_of(child) == 0);
    reads(got, "sent");
    CHECK(pwrite(got, "SENT", 4, 0) == 4);
    reads(got, "SENT");
    return 0;
}
