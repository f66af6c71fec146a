// D4: a program's own alternate stack is no obstacle, whatever its size. MINSIGSTKSZ, a constant 2048, is less than the
// kernel writes there on a machine with AVX-512; delivery to such a stack fails, and a handler that insisted on it would
// turn SIGTERM into SIGSEGV. Below the stack lies a page that cannot be written, so that an overrun is seen.
#include "victim.h"

#include <pthread.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

static char dir[] = "d.XXXXXX";

static void make(void)
{
    CHECK(mkdtemp(dir) == dir && mkdir(in(dir, "a"), 0700) == 0 && mkdir(in(dir, "a/b"), 0700) == 0);
    put(in(dir, "a/b/c"), "x");
}

static void use_stack(size_t size)
{
    size_t page = sysconf(_SC_PAGESIZE), whole = (size + page - 1) / page * page;
    char *map = mmap(NULL, page + whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(map != MAP_FAILED && mprotect(map, page, PROT_NONE) == 0);
    stack_t stack = { .ss_sp = map + page, .ss_size = size }, now;
    CHECKF(sigaltstack(&stack, NULL) == 0, "%zu bytes", size);
    CHECK(sigaltstack(NULL, &now) == 0 && now.ss_sp == stack.ss_sp && now.ss_size == size && now.ss_flags == 0);
}

static void stack_first(size_t size) { use_stack(size); make(); raise(SIGTERM); }
static void stack_later(size_t size) { make(); use_stack(size); raise(SIGTERM); }

static void used_to_have(size_t size)
{
    make();
    use_stack(size);
    stack_t none = { .ss_flags = SS_DISABLE };
    CHECK(sigaltstack(&none, NULL) == 0);
    raise(SIGTERM);
}

static void *in_thread(void *size)
{
    use_stack((size_t)size);
    raise(SIGTERM);
    return NULL;
}

static void thread_has_one(size_t size)
{
    pthread_t t;
    make();
    CHECK(pthread_create(&t, NULL, in_thread, (void *)size) == 0);
    pthread_join(t, NULL);
}

static void *signalled(void *size)
{
    use_stack((size_t)size);
    for (;;)
        pause();
    return NULL;
}

// Sent from outside while every thread has a small stack.
static void all_threads_have_one(size_t size)
{
    pthread_t t;
    make();
    use_stack(size);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&t, NULL, signalled, (void *)size) == 0);
    kill(getpid(), SIGTERM);
    for (;;)
        pause();
}

static void (*const ways[])(size_t) = { stack_first, stack_later, used_to_have, thread_has_one, all_threads_have_one };

struct how {
    size_t way, size;
};

static void play(const void *arg)
{
    const struct how *how = arg;
    ways[how->way](how->size);
}

// Without room on its stack a program has only an alternate one: the classic reason to have it.
static int overflow(int n)
{
    volatile char frame[4096];
    // Never true; without it a compiler rightly says that there is no end to this.
    if (n < 0)
        return 0;
    frame[n % 4096] = 1;
    return overflow(n + 1) + frame[n % 4096];
}

static void overflowing(const void *size)
{
    struct rlimit small = { 1 << 20, 1 << 20 };
    CHECK(setrlimit(RLIMIT_STACK, &small) == 0);
    make();
    use_stack(*(const size_t *)size);
    overflow(0);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    size_t least = getauxval(AT_MINSIGSTKSZ);
    if (least < 2048)
        least = 2048;
    const size_t sizes[] = {
        2048, 2049, 2560, 3072, 3584, 4096, 5120, 6144, 8192, least, least + 256, least + 1024, least + 4096, 65536,
    };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            struct how how = { w, sizes[s] };
            int status = watch(play, &how);
            CHECKF(killed(status, SIGTERM), "way %zu, %zu bytes: status %#x", w, sizes[s], status);
            CHECKF(count_names(".", "") == 0, "way %zu, %zu bytes", w, sizes[s]);
        }
    // On a stack overflow the alternate stack is the only one there is: from the kernel's own minimum on, it must do.
    for (size_t s = 9; s < sizeof sizes / sizeof *sizes; s++) {
        CHECKF(killed(watch(overflowing, &sizes[s]), SIGSEGV), "overflow, %zu bytes", sizes[s]);
        CHECKF(count_names(".", "") == 0, "overflow, %zu bytes", sizes[s]);
    }
    return 0;
}
