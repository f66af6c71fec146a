// D2: contents that are in use to the very end: open, locked, mapped, and the working directory itself. A FUSE server that
// renames what is unlinked while open (bindfs: .fuse_hidden...) keeps the directory from being empty until the process is
// gone; no removal inside the process can help that, so this is not for those.
#include "victim.h"

#include <sys/file.h>
#include <sys/mman.h>

static void play(const void *signal)
{
    char dir[] = "d.XXXXXX";
    CHECK(mkdtemp(dir) == dir && chdir(dir) == 0);
    int fd = open("used", O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0 && ftruncate(fd, 4096) == 0 && flock(fd, LOCK_EX) == 0);
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED || errno == ENODEV);
    CHECK(open(".", O_RDONLY | O_DIRECTORY) >= 0);
    FILE *f = fopen("buffered", "w");
    CHECK(f && fputs("flushed by exit() at the last moment", f) >= 0);
    CHECK(mkdir("working", 0700) == 0 && chdir("working") == 0);
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
