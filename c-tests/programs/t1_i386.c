// T1, T7, D1, S3: a 32-bit program on a 64-bit kernel, whose calls have numbers of their own. Without a libc, since the compiler
// may have none for it. `program DIR`: O_TMPFILE through every door, with all registers as they were
// afterwards, and a file that is published. `program DIR track`:
// directories made-…, which TMPSHIM_TRACK names, and the supervisor removes.
#define OPEN 5
#define MKDIR 39
#define OPENAT 295
#define MKDIRAT 296
#define LINKAT 303
#define OPENAT2 437

#define AT_FDCWD (-100)
#define O_RDONLY 0
#define O_RDWR 2
#define O_CLOEXEC 02000000
#define O_TMPFILE 020200000

static long call(long number, long a, long b, long c, long d, long e)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
    return result;
}

static unsigned long length_of(const char *text)
{
    unsigned long length = 0;
    while (text[length] != '\0')
        length++;
    return length;
}

static void say(const char *text)
{
    call(4 /* write */, 2, (long)text, (long)length_of(text), 0, 0);
}

static void check(int holds, const char *what)
{
    if (holds)
        return;
    say(what);
    say(": failed\n");
    call(252 /* exit_group */, 1, 0, 0, 0, 0);
}

// The path of a name in the directory; the last one only.
static const char *in(const char *directory, const char *name)
{
    static char path[4096];
    unsigned long at = 0;
    check(length_of(directory) + length_of(name) + 2 < sizeof path, "a path that fits");
    for (; *directory != '\0'; directory++)
        path[at++] = *directory;
    for (path[at++] = '/'; *name != '\0'; name++)
        path[at++] = *name;
    path[at] = '\0';
    return path;
}

static void is_our_file(long fd, const char *door)
{
    char back[4] = "";
    check(fd >= 0, door);
    check(call(4 /* write */, fd, (long)"abc", 3, 0, 0) == 3, door);
    check(call(180 /* pread64 */, fd, (long)back, 4, 0, 0) == 3 && back[0] == 'a' && back[2] == 'c', door);
    check(call(55 /* fcntl */, fd, 1 /* F_GETFD */, 0, 0, 0) == 1, door);
    check(call(6 /* close */, fd, 0, 0, 0, 0) == 0, door);
}

// Makes the call of these registers, and writes into them what they are afterwards. `below` is on the stack, where nothing but
// the call can touch it.
struct registers {
    long ebx, ecx, edx, esi, edi, ebp, eax, flags, ds, es, below;
};
void call_with(struct registers *registers);
__asm__(".text\ncall_with:\n"
        "push %ebp\npush %ebx\npush %esi\npush %edi\nmov 20(%esp), %eax\npush %eax\n"
        "mov 40(%eax), %ebx\nmov %ebx, -64(%esp)\nmov 0(%eax), %ebx\nmov 4(%eax), %ecx\nmov 8(%eax), %edx\n"
        "mov 12(%eax), %esi\nmov 16(%eax), %edi\nmov 20(%eax), %ebp\nmov 24(%eax), %eax\n"
        "std\nint $0x80\npush %eax\npushf\nmov 8(%esp), %eax\n"
        "mov %ebx, 0(%eax)\nmov %ecx, 4(%eax)\nmov %edx, 8(%eax)\nmov %esi, 12(%eax)\nmov %edi, 16(%eax)\n"
        "mov %ebp, 20(%eax)\npop 28(%eax)\npop 24(%eax)\nmov %ds, 32(%eax)\nmov %es, 36(%eax)\n"
        "mov -64(%esp), %ecx\nmov %ecx, 40(%eax)\n"
        "cld\npop %eax\npop %edi\npop %esi\npop %ebx\npop %ebp\nret\n");

static void nothing_else_changes(const char *directory)
{
    enum { DIRECTION = 1 << 10, DATA = 0x2b };
    const long path = (long)directory, flags = O_RDWR | O_TMPFILE | O_CLOEXEC;
    for (int round = 0; round < 20; round++) {
        struct registers r = { AT_FDCWD, path, flags, 0640, 0x1234567, -0x789abc, OPENAT, 0, DATA, DATA, 0x5a5a5a5a };
        call_with(&r);
        check(r.ebx == AT_FDCWD && r.ecx == path && r.edx == flags && r.esi == 0640, "arguments");
        check(r.edi == 0x1234567 && r.ebp == -0x789abc && r.below == 0x5a5a5a5a, "registers");
        check((r.flags & DIRECTION) && (r.ds & 0xffff) == DATA && (r.es & 0xffff) == DATA, "flags and segments");
        is_our_file(r.eax, "openat with all registers");
    }
}

static void open_and_publish(const char *directory)
{
    nothing_else_changes(directory);
    const long flags = O_RDWR | O_TMPFILE | O_CLOEXEC;
    const unsigned long long how[3] = { (unsigned long long)flags, 0640, 0 };
    long dirfd = call(OPEN, (long)directory, O_RDONLY, 0, 0, 0);
    check(dirfd >= 0, "the directory");
    is_our_file(call(OPEN, (long)directory, flags, 0640, 0, 0), "open");
    is_our_file(call(OPENAT, AT_FDCWD, (long)directory, flags, 0640, 0), "openat");
    is_our_file(call(OPENAT, dirfd, (long)".", flags, 0640, 0), "openat, relative");
    is_our_file(call(OPENAT2, dirfd, (long)".", (long)how, sizeof how, 0), "openat2");

    char link[] = "/proc/self/fd/0", back[4] = "";
    long fd = call(OPENAT, dirfd, (long)".", flags, 0640, 0);
    check(fd >= 0 && fd < 10 && call(4 /* write */, fd, (long)"abc", 3, 0, 0) == 3, "a file to publish");
    link[sizeof link - 2] = (char)('0' + fd);
    check(call(LINKAT, AT_FDCWD, (long)link, AT_FDCWD, (long)in(directory, "name"), 0x400) == 0, "linkat");
    long reader = call(OPEN, (long)in(directory, "name"), O_RDONLY, 0, 0, 0);
    check(reader >= 0 && call(3 /* read */, reader, (long)back, 4, 0, 0) == 3 && back[1] == 'b', "the published file");
    check(call(10 /* unlink */, (long)in(directory, "name"), 0, 0, 0, 0) == 0, "unlink");
}

static void make(const char *directory)
{
    check(call(MKDIR, (long)in(directory, "made-by-mkdir"), 0700, 0, 0, 0) == 0, "mkdir");
    check(call(MKDIRAT, AT_FDCWD, (long)in(directory, "made-by-mkdirat"), 0700, 0, 0) == 0, "mkdirat");
    check(call(MKDIR, (long)in(directory, "made-by-mkdir/sub"), 0700, 0, 0, 0) == 0, "below");
}

__attribute__((used)) static void begin(const long *stack)
{
    const char *const *argv = (const char *const *)(stack + 1);
    if (stack[0] == 2)
        open_and_publish(argv[1]);
    else
        make(argv[1]);
    call(252 /* exit_group */, 0, 0, 0, 0, 0);
}

__asm__(".globl _start\n_start:\n\tmovl %esp, %eax\n\tandl $-16, %esp\n\tsubl $12, %esp\n\tpushl %eax\n\tcall begin\n");
