// D3: a vfork child that makes something before its parent has made anything. What the parent makes later goes with the
// parent all the same, also where it is a forked process itself; what the child made is nobody's.
#include "lives.h"

#include <pthread.h>

static void make_directory(void) { CHECK(mkdtemp((char[]) { "../gone.XXXXXX" })); }
static void fail_to_make(void) { CHECK(!mkdtemp((char[]) { "absent/d.XXXXXX" })); }
static void make_file(void) { CHECK(open(".", O_RDWR | O_TMPFILE, 0644) >= 0); }

static void (*const firsts[])(void) = { make_directory, fail_to_make, make_file };

#define FIRSTS (sizeof firsts / sizeof *firsts)

static void vfork_first(size_t first)
{
    pid_t pid = vfork();
    if (pid == 0) {
        firsts[first]();
        _exit(0);
    }
    CHECK(exited(ended(pid), 0));
}

static void maker(const void *first)
{
    vfork_first(*(const size_t *)first);
    make_with_content((char[]) { "d.XXXXXX" });
}

static void *forever(void *unused)
{
    for (;;)
        pause();
    return unused;
}

// The maker has other threads: its memory is its own all the same.
static void maker_with_threads(const void *first)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, forever, NULL) == 0);
    make_with_content((char[]) { "d.XXXXXX" });
    vfork_first(*(const size_t *)first);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0 && mkdir("in", 0700) == 0 && chdir("in") == 0);
    for (size_t first = 0; first < FIRSTS; first++) {
        CHECK(exited(watch(maker, &first), 0));
        GONE(count_names(".", "") == 0, "after vfork child %zu", first);
        CHECK(exited(watch(maker_with_threads, &first), 0));
        GONE(count_names(".", "") == 0, "with threads, %zu", first);
    }
    CHECK(chdir("..") == 0);
    scrub("in");
    // What a vfork child made first is recorded nowhere.
    char command[] = "rm -rf gone.*";
    CHECK(system(command) == 0);
    return 0;
}
