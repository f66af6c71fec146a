// D7: a program may close every descriptor, use every number, or have none left; none of the shim's is among them.
#include "victim.h"

static char dir[] = "d.XXXXXX";

static void make(void)
{
    CHECK(mkdtemp(dir) == dir && mkdir(in(dir, "sub"), 0700) == 0);
    put(in(dir, "sub/content"), "x");
}

static void close_all(void) { CHECK(syscall(SYS_close_range, 3, ~0u, 0) == 0); }

static void close_one_by_one(void)
{
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
}

static void close_even_the_first(void) { CHECK(syscall(SYS_close_range, 0, ~0u, 0) == 0); }

// Reused: whoever thought a number was his now has somebody else's file there, and it must not change.
static void reuse_all(void)
{
    close_all();
    int fd;
    while ((fd = open("../witness", O_RDWR)) >= 0 && fd < 200)
        ;
}

static void fill_table(void)
{
    struct rlimit few = { 64, 64 };
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    while (dup(0) >= 0)
        ;
    CHECK(errno == EMFILE);
}

static void fill_table_below_limit(void)
{
    struct rlimit few;
    CHECK(getrlimit(RLIMIT_NOFILE, &few) == 0);
    few.rlim_cur = 64;
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    while (dup(0) >= 0)
        ;
    CHECK(errno == EMFILE);
}

static void limit_nothing(void)
{
    struct rlimit none = { 0, 0 };
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
}

static const struct way {
    void (*spoil)(void);
    int may_stay;     // a removal without any descriptor is more than can be asked; to end as if nothing were is not
} ways[] = {
    // First, so that those that come later find the journals that these leave.
    { fill_table, 1 }, { limit_nothing, 1 },
    { close_all, 0 }, { close_one_by_one, 0 }, { close_even_the_first, 0 }, { reuse_all, 0 }, { fill_table_below_limit, 0 },
};

struct how {
    size_t way;
    int order, end;
};

static void play(const void *arg)
{
    const struct how *how = arg;
    CHECK(chdir("work") == 0);
    if (how->order)
        ways[how->way].spoil();
    if (how->order && ways[how->way].may_stay) {
        // mkdtemp needs no descriptor natively.
        CHECK(mkdtemp(dir) == dir && exists(dir));
    } else {
        make();
    }
    if (!how->order)
        ways[how->way].spoil();
    if (how->end)
        raise(how->end);
    exit(3);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    put("witness", "untouched");
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++)
        for (int h = 0; h < 4; h++) {
            struct how how = { w, h / 2, h % 2 ? SIGTERM : 0 };
            // In front of the directory, no table can be so full that the program's own files cannot be made.
            if (how.order && (ways[w].spoil == fill_table_below_limit || ways[w].spoil == reuse_all))
                continue;
            CHECK(mkdir("work", 0700) == 0);
            int status = watch(play, &how);
            CHECKF(how.end ? killed(status, how.end) : exited(status, 3), "way %zu.%d: status %#x", w, h, status);
            GONE(ways[w].may_stay || count_names("work", "") == 0, "way %zu.%d", w, h);
            CHECKF(holds("witness", "untouched"), "way %zu.%d", w, h);
            scrub("work");
        }
    CHECK(unlink("witness") == 0);
    return 0;
}
