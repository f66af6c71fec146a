// S3: after an O_TMPFILE open all registers are as they were, general and vector ones, control words and flags, and so is the
// red zone below the stack. By a raw system call, since libc itself saves some of that, with a stack pointer that leads nowhere as well, and while SIGURG flies. `program DIR left`: meanwhile the
// supervisor is killed, and from then on the answer is ENOSYS, but all the rest is the same (S6).
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

enum { THREADS = 4, ROUNDS = 40 };

static const char *directory;
// 0 where it is not to be killed.
static pid_t supervisor;

#if defined(__aarch64__)
#include "registers_aarch64.h"
#else
#include <asm/prctl.h>

enum { RED_ZONE = 128 };
enum { CARRY = 1, PARITY = 4, SIGN = 1 << 7, DIRECTION = 1 << 10, OVERFLOW = 1 << 11, ALIGNMENT = 1 << 18 };
enum { FLAGS = CARRY | PARITY | 1 << 4 | 1 << 6 | SIGN | DIRECTION | OVERFLOW | ALIGNMENT };

struct state {
    uint64_t rdi, rsi, rdx, r10;              // 0: arguments
    uint64_t rax;                             // 32: number, and result
    uint64_t rbx, r8, r9, r12, r13, r14, r15; // 40
    uint64_t flags, flags_after, no_flags;    // 96
    uint64_t rsp, real_rsp;                   // 120: 0 for the real one
    uint32_t mxcsr, x87;                      // 136
    uint64_t unused[2];
    uint8_t red_zone[RED_ZONE];               // 160
    uint8_t vector[16][32];                   // 288
} __attribute__((aligned(64)));
_Static_assert(offsetof(struct state, flags) == 96 && offsetof(struct state, rsp) == 120 &&
                   offsetof(struct state, mxcsr) == 136 && offsetof(struct state, red_zone) == 160 &&
                   offsetof(struct state, vector) == 288, "as the assembler has it");

// Makes the call of a state with its registers, and writes into it what they are afterwards; rbp leads to it meanwhile.
// Flags go by a stack that is a part of it, so that nothing but the call could touch the red zone.
void call_with_sse(struct state *state);
void call_with_avx(struct state *state);
__asm__(R"(
    .text
    .macro call_with name, move, vector
\name:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rdi, %rbp
    mov %rsp, 128(%rbp)
    ldmxcsr 136(%rbp)
    fldcw 140(%rbp)
    lea 160(%rbp), %rsi
    lea -128(%rsp), %rdi
    mov $128, %ecx
    rep movsb
    cmpq $0, 120(%rbp)
    jne 1f
    mov %rsp, 120(%rbp)
1:
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    \move 288+32*\n(%rbp), %\vector\n
    .endr
    mov 0(%rbp), %rdi
    mov 8(%rbp), %rsi
    mov 16(%rbp), %rdx
    mov 24(%rbp), %r10
    mov 32(%rbp), %rax
    mov 40(%rbp), %rbx
    mov 48(%rbp), %r8
    mov 56(%rbp), %r9
    mov 64(%rbp), %r12
    mov 72(%rbp), %r13
    mov 80(%rbp), %r14
    mov 88(%rbp), %r15
    lea 96(%rbp), %rsp
    popfq
    mov 120(%rbp), %rsp
    syscall
    mov %rsp, 120(%rbp)
    lea 112(%rbp), %rsp
    pushfq
    lea 112(%rbp), %rsp
    popfq
    mov 128(%rbp), %rsp
    mov %rdi, 0(%rbp)
    mov %rsi, 8(%rbp)
    mov %rdx, 16(%rbp)
    mov %r10, 24(%rbp)
    mov %rax, 32(%rbp)
    mov %rbx, 40(%rbp)
    mov %r8, 48(%rbp)
    mov %r9, 56(%rbp)
    mov %r12, 64(%rbp)
    mov %r13, 72(%rbp)
    mov %r14, 80(%rbp)
    mov %r15, 88(%rbp)
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    \move %\vector\n, 288+32*\n(%rbp)
    .endr
    stmxcsr 136(%rbp)
    fnstcw 140(%rbp)
    lea -128(%rsp), %rsi
    lea 160(%rbp), %rdi
    mov $128, %ecx
    rep movsb
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
    .endm
    call_with call_with_sse, movdqu, xmm
    call_with call_with_avx, vmovdqu, ymm
)");

static void one_call(unsigned random)
{
    static const uint64_t flags[] = { 0, CARRY | SIGN, DIRECTION, ALIGNMENT, FLAGS };
    // To nearest, and down; with single precision, and as usual.
    static const uint32_t mxcsr[] = { 0x1f80, 0x3f80 }, x87[] = { 0x37f, 0x47f };
    int avx = __builtin_cpu_supports("avx");
    struct state before, after;
    memset(&before, 0, sizeof before);
    uint8_t *bytes = (uint8_t *)&before;
    for (size_t i = 0; i < sizeof before; i++)
        bytes[i] = (uint8_t)((random + i) * 167 + 13);
    before.rdi = (uint64_t)AT_FDCWD;
    before.rsi = (uint64_t)directory;
    before.rdx = O_TMPFILE | O_RDWR | O_CLOEXEC;
    before.r10 = 0640;
    before.rax = SYS_openat;
    before.flags = flags[random % 5];
    before.no_flags = 0;
    before.rsp = random % 3 ? 0 : random % 2 ? 16 : 0x7fffffffeff8;
    before.mxcsr = mxcsr[random % 2];
    before.x87 = x87[random / 2 % 2];
    after = before;
    (avx ? call_with_avx : call_with_sse)(&after);
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr[0]), "m"(x87[0]));
    int fd = (int)after.rax;
    CHECK(after.rax < 1000 || (supervisor && (fd == -ENOSYS || fd == -EOPNOTSUPP)));
    CHECK(after.rdi == before.rdi && after.rsi == before.rsi && after.rdx == before.rdx && after.r10 == before.r10);
    CHECK(after.rbx == before.rbx && after.r8 == before.r8 && after.r9 == before.r9);
    CHECK(after.r12 == before.r12 && after.r13 == before.r13 && after.r14 == before.r14 && after.r15 == before.r15);
    CHECK(after.rsp == (before.rsp ? before.rsp : after.real_rsp));
    CHECK((after.flags_after & FLAGS) == before.flags);
    CHECK(after.mxcsr == before.mxcsr && (after.x87 & 0xffff) == before.x87);
    CHECK(memcmp(after.red_zone, before.red_zone, RED_ZONE) == 0);
    for (int i = 0; i < 16; i++)
        CHECK(memcmp(after.vector[i], before.vector[i], avx ? 32 : 16) == 0);
    // What the kernel says where the supervisor is killed between its answer and the descriptor that belongs to it, before
    // Linux 5.19.
    if (supervisor && fd == 0)
        return;
    if (fd >= 0) {
        CHECK(after.rax != SYS_openat && fcntl(fd, F_GETFD) == FD_CLOEXEC);
        CHECK(write(fd, "abc", 3) == 3);
        CHECK(close(fd) == 0);
    }
}

#endif

static atomic_int working = THREADS;
static atomic_long urgent, called;
static pid_t tids[THREADS];

static void on_urgent(int sig)
{
    (void)sig;
    atomic_fetch_add(&urgent, 1);
}

static void have_alternate_stack(void)
{
    stack_t stack = { .ss_sp = malloc(64 << 10), .ss_size = 64 << 10 };
    CHECK(stack.ss_sp != NULL && sigaltstack(&stack, NULL) == 0);
}

static void *call_often(void *number)
{
    unsigned own = (unsigned)(uintptr_t)number;
    have_alternate_stack();
    tids[own] = (pid_t)syscall(SYS_gettid);
#ifdef __x86_64__
    uint64_t base = 0x123456789000 + own, seen = 0;
    CHECK(syscall(SYS_arch_prctl, ARCH_SET_GS, base) == 0);
#endif
    for (unsigned round = 0, left = ROUNDS; left > 0; round++) {
        one_call(own * 100 + round);
        atomic_fetch_add(&called, 1);
        // Not before something has come in between.
        left -= atomic_load(&urgent) > 0 && (supervisor == 0 || getppid() != supervisor);
    }
#ifdef __x86_64__
    CHECK(syscall(SYS_arch_prctl, ARCH_GET_GS, &seen) == 0 && seen == base);
#endif
    atomic_fetch_sub(&working, 1);
    while (atomic_load(&working) > 0)
        usleep(100);
    return NULL;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2 || argc == 3);
    directory = argv[1];
    if (argc == 3) {
        // Nobody else is to be killed.
        const char *tested = getenv("TESTED_COMMAND");
        char path[64], program[PATH_MAX] = "", command[PATH_MAX];
        supervisor = getppid();
        snprintf(path, sizeof path, "/proc/%d/exe", supervisor);
        CHECK(tested != NULL && realpath(tested, command) != NULL);
        CHECK(readlink(path, program, sizeof program - 1) > 0 && strcmp(program, command) == 0);
    }
    struct sigaction action = { .sa_handler = on_urgent, .sa_flags = SA_ONSTACK | SA_RESTART };
    CHECK(sigaction(SIGURG, &action, NULL) == 0);
    pthread_t threads[THREADS];
    for (uintptr_t thread = 0; thread < THREADS; thread++)
        CHECK(pthread_create(&threads[thread], NULL, call_often, (void *)thread) == 0);
    // From the first answer on: who is just being given memory for it ends with the supervisor (docs/limits.md).
    for (int round = 0; atomic_load(&working) > 0; round += atomic_load(&called) > 0) {
        if (supervisor && round == 20 + getpid() % 37)
            CHECK(kill(supervisor, SIGKILL) == 0);
        for (int thread = 0; thread < THREADS; thread++)
            if (tids[thread] && atomic_load(&working) > 0)
                syscall(SYS_tgkill, getpid(), tids[thread], SIGURG);
        usleep(200);
    }
    for (int thread = 0; thread < THREADS; thread++)
        CHECK(pthread_join(threads[thread], NULL) == 0);
    return 0;
}
