// D2: contents are included, whatever they are and whatever they are called.
#include "victim.h"

#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

static void every_kind(void)
{
    put("file", "x");
    put("read-only", "x");
    CHECK(chmod("read-only", 0) == 0);
    put(".hidden", "x");
    put("...", "x");
    CHECK(mkfifo("fifo", 0600) == 0);
    CHECK(symlink("/nonexistent/target", "dangling") == 0 && symlink("self", "self") == 0);
    CHECK(symlink("/", "root") == 0 && symlink("..", "up") == 0 && symlink(".", "here") == 0);
    CHECK(mkdir("empty", 0700) == 0 && mkdir("sub", 0700) == 0 && mkdir("sub/sub", 0700) == 0);
    put("sub/sub/file", "x");
    CHECK(mkdir("unwritable", 0700) == 0);
    put("unwritable/file", "x");
    CHECK(chmod("unwritable", 0500) == 0);

    struct sockaddr_un address = { AF_UNIX, "socket" };
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    // A FUSE server may know no sockets; then there is none to remove.
    CHECK(bind(s, (void *)&address, sizeof address) == 0 || errno == EPERM || errno == EOPNOTSUPP);
    if (geteuid() == 0)
        CHECK(mknod("device", S_IFCHR | 0600, makedev(1, 3)) == 0 || errno == EPERM);
}

static void every_name(void)
{
    char name[NAME_MAX + 1];
    put("new\nline", "x");
    put(" ", "x");
    put("-rf", "x");
    put("\"quoted\\\"", "x");
    put("\xff\xfe not text", "x");
    for (int c = 1; c < 256; c++) {
        if (c == '/')
            continue;
        snprintf(name, sizeof name, "c%cc", c);
        put(name, "x");
    }
    for (size_t n = 1; n <= NAME_MAX; n++) {
        memset(name, 'n', n);
        name[n] = 0;
        // fuse-overlayfs keeps four bytes of each name for itself.
        if (mknod(name, S_IFREG | 0600, 0) != 0 && errno == ENAMETOOLONG && n > 250)
            break;
        CHECKF(exists(name), "%zu bytes", n);
        name[0] = 'd';
        CHECK(mkdir(name, 0700) == 0);
    }
}

static void play(const void *signal)
{
    void (*const parts[])(void) = { every_kind, every_name };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        int back = open(".", O_RDONLY | O_DIRECTORY);
        char dir[] = "d.XXXXXX";
        CHECK(mkdtemp(dir) == dir && chdir(dir) == 0);
        parts[i]();
        CHECK(fchdir(back) == 0);
    }
    if (signal)
        raise(SIGTERM);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    CHECK(exited(watch(play, NULL), 0));
    GONE(count_names(".", "") == 0, "%d left after exit", count_names(".", ""));
    CHECK(killed(watch(play, "signal"), SIGTERM));
    GONE(count_names(".", "") == 0, "%d left after SIGTERM", count_names(".", ""));
    return 0;
}
