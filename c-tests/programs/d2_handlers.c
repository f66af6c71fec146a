// D2: the program's own last words come first. Whatever it has registered for the end, whenever it did, still finds its
// directory; only then does the directory go.
#include "victim.h"

static char dir[] = "d.XXXXXX";
static int report;

static void use(const char *name)
{
    CHECKF(exists(dir), "%s", name);
    put(in(dir, name), "x");
    CHECK(write(report, name, 1) == 1);
}

static void early(void) { use("early"); }
static void late(void) { use("late"); }
static void quick(void) { use("quick"); }

// The last registered speaks first; destructors come after all of them.
#ifndef __GLIBC__
#define WORDS "lef"
#else
#define WORDS "olef"

static void with_status(int status, void *unused)
{
    (void)unused;
    CHECK(status == 5);
    use("on_exit");
}
#endif

__attribute__((destructor)) static void destroy(void)
{
    if (report)
        use("fini");
}

static void play(const void *fd)
{
    report = *(const int *)fd;
    CHECK(atexit(early) == 0 && at_quick_exit(quick) == 0);
    CHECK(mkdtemp(dir) == dir);
    CHECK(atexit(late) == 0);
#ifdef __GLIBC__
    CHECK(on_exit(with_status, NULL) == 0);
#endif
}

static void plain(const void *fd) { play(fd); exit(5); }
static void quickly(const void *fd) { play(fd); quick_exit(5); }
static void at_once(const void *fd) { play(fd); _exit(5); }

static void expect(part *end, const char *words)
{
    int p[2];
    char said[16] = "";
    CHECK(pipe(p) == 0);
    int status = watch(end, &p[1]);
    close(p[1]);
    CHECK(read(p[0], said, sizeof said - 1) >= 0);
    close(p[0]);
    CHECKF(exited(status, 5), "status %#x", status);
    CHECKF(strcmp(said, words) == 0, "said %s, not %s", said, words);
    GONE(count_names(".", "") == 0, "after %s", words);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    expect(plain, WORDS);
    expect(quickly, "q");
    expect(at_once, "");
    return 0;
}
