// For s3_registers.c: one call with all of AArch64's registers set, and compared afterwards.
#include <stddef.h>

enum { CARRY = 1 << 29, OVERFLOW = 1 << 28, SIGN = 1u << 31, FLAGS = 0xf0000000 };

struct state {
    uint64_t x[31];       // 0: all but x28, which leads here meanwhile
    uint64_t sp, real_sp; // 248: 0 for the real one
    uint64_t flags;       // 264
    uint64_t fpcr, fpsr;  // 272
    uint8_t vector[32][16]; // 288
} __attribute__((aligned(64)));
_Static_assert(offsetof(struct state, sp) == 248 && offsetof(struct state, flags) == 264 &&
                   offsetof(struct state, fpcr) == 272 && offsetof(struct state, vector) == 288, "as the assembler has it");

// Makes the call of a state with its registers, and writes into it what they are afterwards.
void call_with_all(struct state *state);
__asm__(R"(
    .text
call_with_all:
    stp x29, x30, [sp, #-96]!
    stp x19, x20, [sp, #16]
    stp x21, x22, [sp, #32]
    stp x23, x24, [sp, #48]
    stp x25, x26, [sp, #64]
    stp x27, x28, [sp, #80]
    sub sp, sp, #64
    stp d8, d9, [sp]
    stp d10, d11, [sp, #16]
    stp d12, d13, [sp, #32]
    stp d14, d15, [sp, #48]
    mov x28, x0
    mov x9, sp
    str x9, [x28, #256]
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    ldr q\n, [x28, #(288 + 16 * \n)]
    .endr
    ldp x9, x10, [x28, #272]
    msr fpcr, x9
    msr fpsr, x10
    ldp x9, x10, [x28, #264]
    msr nzcv, x9
    ldr x9, [x28, #248]
    cbz x9, 1f
    mov sp, x9
1:
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,29,30
    ldr x\n, [x28, #(8 * \n)]
    .endr
    svc #0
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,29,30
    str x\n, [x28, #(8 * \n)]
    .endr
    mrs x9, nzcv
    str x9, [x28, #264]
    mov x9, sp
    str x9, [x28, #248]
    mrs x9, fpcr
    mrs x10, fpsr
    stp x9, x10, [x28, #272]
    msr fpcr, xzr
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    str q\n, [x28, #(288 + 16 * \n)]
    .endr
    ldr x9, [x28, #256]
    mov sp, x9
    ldp d8, d9, [sp]
    ldp d10, d11, [sp, #16]
    ldp d12, d13, [sp, #32]
    ldp d14, d15, [sp, #48]
    add sp, sp, #64
    ldp x19, x20, [sp, #16]
    ldp x21, x22, [sp, #32]
    ldp x23, x24, [sp, #48]
    ldp x25, x26, [sp, #64]
    ldp x27, x28, [sp, #80]
    ldp x29, x30, [sp], #96
    ret
)");

static void one_call(unsigned random)
{
    static const uint64_t flags[] = { 0, CARRY | SIGN, OVERFLOW, SIGN, FLAGS };
    struct state before, after;
    uint8_t *bytes = (uint8_t *)&before;
    for (size_t i = 0; i < sizeof before; i++)
        bytes[i] = (uint8_t)((random + i) * 167 + 13);
    before.x[0] = (uint64_t)AT_FDCWD;
    before.x[1] = (uint64_t)directory;
    before.x[2] = O_TMPFILE | O_RDWR | O_CLOEXEC;
    before.x[3] = 0640;
    before.x[8] = SYS_openat;
    before.sp = random % 3 ? 0 : random % 2 ? 16 : 0xfffffffffff0;
    before.flags = flags[random % 5];
    // To nearest, and down.
    before.fpcr = random % 2 ? 2 << 22 : 0;
    before.fpsr = random % 7;
    after = before;
    call_with_all(&after);
    long answer = (long)after.x[0];
    int fd = (int)answer;
    CHECK((answer >= 0 && answer < 1000) || (supervisor && (answer == -ENOSYS || answer == -EOPNOTSUPP)));
    for (int i = 1; i < 31; i++)
        CHECK(i == 28 || after.x[i] == before.x[i]);
    CHECK(after.sp == (before.sp ? before.sp : after.real_sp));
    CHECK(after.flags == before.flags && after.fpcr == before.fpcr && after.fpsr == before.fpsr);
    CHECK(memcmp(after.vector, before.vector, sizeof before.vector) == 0);
    if (fd >= 0) {
        CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
        CHECK(write(fd, "abc", 3) == 3);
        CHECK(close(fd) == 0);
    }
}
