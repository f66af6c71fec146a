// D1: a failing mkdtemp fails as it does without the shim, and leaves neither a directory nor something to remove.
#include "victim.h"

#include <sys/mman.h>

static void expect(const char *template, int error)
{
    char dir[2 * PATH_MAX];
    strcpy(dir, template);
    errno = 0;
    CHECKF(mkdtemp(dir) == NULL && errno == error, "%.80s: not %s", template, strerror(error));
}

static void refusals(const void *unused)
{
    (void)unused;
    const char *malformed[] = { "", "X", "XXXXX", "dir.XXXXX", "XXXXXXa", "XXXXXX/", "xxxxxx", "XXXXXx", "XXXXXX.", "d" };
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        char dir[32];
        strcpy(dir, malformed[i]);
        expect(dir, EINVAL);
        CHECK(strcmp(dir, malformed[i]) == 0);
    }
    expect("absent/d.XXXXXX", ENOENT);
    expect("absent/../d.XXXXXX", ENOENT);
    expect("dangling/d.XXXXXX", ENOENT);
    expect("file/d.XXXXXX", ENOTDIR);
    expect("loop/d.XXXXXX", ELOOP);
    char name[512];
    memset(name, 'n', 250);
    strcpy(name + 250, "XXXXXX");
    expect(name, ENAMETOOLONG);
    if (geteuid() != 0) {
        expect("closed/d.XXXXXX", EACCES);
        expect("unsearchable/d.XXXXXX", EACCES);
    }
}

// A working directory that is gone: the kernel's answer, not one of getcwd's.
static void nowhere(const void *unused)
{
    (void)unused;
    CHECK(mkdir("gone", 0700) == 0 && chdir("gone") == 0 && rmdir("../gone") == 0);
    expect("d.XXXXXX", ENOENT);
}

// Without the shim these two are a segmentation fault inside libc. A shim may be kinder; it may not be worse.
static void null_pointer(const void *unused)
{
    (void)unused;
    char *volatile null = NULL;
    errno = 0;
    CHECK(mkdtemp(null) == NULL && (errno == EFAULT || errno == EINVAL));
}

static void unwritable(const void *unused)
{
    (void)unused;
    long page = sysconf(_SC_PAGESIZE);
    char *dir = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(dir != MAP_FAILED);
    strcpy(dir, "const.XXXXXX");
    CHECK(mprotect(dir, page, PROT_READ) == 0);
    errno = 0;
    CHECK(mkdtemp(dir) == NULL && errno == EFAULT);
}

static void unreadable(const void *unused)
{
    (void)unused;
    char *dir = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    errno = 0;
    CHECK(dir != MAP_FAILED && mkdtemp(dir) == NULL && errno == EFAULT);
}

// The template ends with the last byte that can be read: nothing may look beyond its NUL.
static void at_the_edge(const void *unused)
{
    (void)unused;
    long page = sysconf(_SC_PAGESIZE);
    char *two = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(two != MAP_FAILED && mprotect(two + page, page, PROT_NONE) == 0);
    char *dir = two + page - sizeof "edge.XXXXXX";
    strcpy(dir, "edge.XXXXXX");
    CHECK(mkdtemp(dir) == dir && exists(dir));
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    put("file", "");
    CHECK(symlink("absent", "dangling") == 0 && symlink("loop", "loop") == 0);
    CHECK(mkdir("closed", 0500) == 0 && mkdir("unsearchable", 0600) == 0);
    CHECK(exited(watch(refusals, NULL), 0));
    CHECK(exited(watch(nowhere, NULL), 0));
    CHECK(exited(watch(null_pointer, NULL), 0));
    CHECK(exited(watch(unreadable, NULL), 0));
    CHECK(exited(watch(unwritable, NULL), 0));
    CHECK(exited(watch(at_the_edge, NULL), 0));
    GONE(count_names(".", "") == 5, "%d left", count_names(".", "") - 5);
    CHECK(chmod("unsearchable", 0700) == 0 && rmdir("closed") == 0 && rmdir("unsearchable") == 0);
    CHECK(unlink("file") == 0 && unlink("dangling") == 0 && unlink("loop") == 0);
    return 0;
}
