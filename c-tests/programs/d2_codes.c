// D2: all 256 exit codes, through the four doors, arrive as the program gave them.
#include "victim.h"


static void exit_group(int code) { syscall(SYS_exit_group, code); }
static void (*const doors[])(int) = { exit, _exit, quick_exit, exit_group };

static void play(const void *how)
{
    int n = *(const int *)how;
    char dir[] = "d.XXXXXX";
    CHECK(mkdtemp(dir) == dir);
    doors[n % 4](n / 4);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    for (int n = 0; n < 4 * 256; n++) {
        int status = watch(play, &n);
        CHECKF(exited(status, n / 4), "door %d, code %d: status %#x", n % 4, n / 4, status);
        GONE(count_names(".", "") == 0, "door %d, code %d", n % 4, n / 4);
    }
    return 0;
}
