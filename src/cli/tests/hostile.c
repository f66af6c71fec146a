/* A program that overwrites the code that a tracer has mapped into it, and so says to the tracer whatever it likes:
 * `hostile DIR USER VICTIM`. DIR is without O_TMPFILE, and `VICTIM/tracked` is what --track tracks. As that user it
 * announces what lies in VICTIM, has the tracer believe that it has made it, and ends in the middle of that. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

/* As in tmpshim_core::parasite. */
enum { QUESTION = -0x746d7073, ANNOUNCE = 2, CONFIRM = 3, A_FILE = 1, A_DIRECTORY = 2 };
struct announcement { int directory; unsigned entry; int mode; unsigned removable, length; char name[256]; };
struct confirmation { unsigned ticket, padding; uint64_t device, inode, birth, generation, mount; };

#define HIDDEN ".tmpshim-l00112233445566778899aabbccddeeff"
#define KEPT ".tmpshim-x00112233445566778899aabbccddeeff"
#define PRIVATE ".tmpshim-d00112233445566778899aabbccddeeff"

static int victim;
static char code[1 << 16];

static long trap(int kind, void *message)
{
    return syscall(SYS_openat, QUESTION, NULL, O_TMPFILE | O_RDWR, message, kind);
}

static long announce(const char *name, int entry, int mode)
{
    struct announcement message = { victim, entry, mode, 1, strlen(name), "" };
    strcpy(message.name, name);
    return trap(ANNOUNCE, &message);
}

static void confirm(long ticket, const char *name)
{
    struct statx seen;
    struct stat plain;
    if (ticket < 0 || statx(victim, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME | 0x1000, &seen) != 0
        || fstatat(victim, name, &plain, AT_SYMLINK_NOFOLLOW) != 0) {
        return;
    }
    struct confirmation message = { ticket, 0, plain.st_dev, plain.st_ino,
        seen.stx_btime.tv_sec * 1000000000ull + seen.stx_btime.tv_nsec, 0, seen.stx_mnt_id };
    trap(CONFIRM, &message);
}

/* On the stack that the tracer has given us, in the middle of an errand. */
static void evil(void)
{
    static char text[256];
    long plain = announce("precious", A_FILE, -1);
    long above = announce("../precious", A_FILE, -1);
    long directory = announce("tree", A_DIRECTORY, -1);
    long hidden = announce(HIDDEN, A_FILE, -1);
    long private = announce(PRIVATE, A_DIRECTORY, -1);
    long kept = announce(KEPT, A_FILE, 0600);
    long tracked = announce("tracked", A_DIRECTORY, -1);
    confirm(kept, KEPT);
    confirm(tracked, "tracked");
    int length = snprintf(text, sizeof text, "plain %s, above %s, directory %s, hidden %s, private %s, kept %s, tracked %s\n",
        plain < 0 ? "no" : "yes", above < 0 ? "no" : "yes", directory < 0 ? "no" : "yes", hidden < 0 ? "no" : "yes",
        private < 0 ? "no" : "yes", kept < 0 ? "no" : "yes", tracked < 0 ? "no" : "yes");
    CHECK(write(1, text, length) == length);
    _exit(0);
}

/* Where the tracer's code lies, and how much of it. */
static char *find(size_t *length)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        int name = 0;
        if (sscanf(line, "%lx-%lx r-xp %*x %*x:%*x 0 %n", &start, &end, &name) == 2 && name > 0 && line[name] != '[') {
            *length = end - start;
            return (char *)start;
        }
    }
    return NULL;
}

static void attack(const char *directory, const char *tracked, int undumpable)
{
    size_t length = 0;
    int fd = open(directory, O_TMPFILE | O_RDWR, 0600);
    char *start = find(&length);
    uint64_t address = (uint64_t)evil;
    CHECK(fd >= 0 && start && length <= sizeof code);
    memset(code, 0x90, length);
    /* movabs rax, evil; and rsp, -16; call rax. */
    char jump[] = "\x48\xb8________\x48\x83\xe4\xf0\xff\xd0";
    memcpy(jump + 2, &address, 8);
    memcpy(code + length - sizeof jump + 1, jump, sizeof jump - 1);
    int memory = open("/proc/self/mem", O_WRONLY);
    CHECK(memory >= 0 && pwrite(memory, code, length, (off_t)start) == (ssize_t)length);
    CHECK(!undumpable || prctl(PR_SET_DUMPABLE, 0) == 0);
    if (tracked) {
        mkdir(tracked, 0700);
    } else {
        open(directory, O_TMPFILE | O_RDWR, 0600);
    }
    CHECK(!"ended by evil()");
}

int main(int count, char **arguments)
{
    char tracked[4096];
    CHECK(count == 4);
    uid_t user = atoi(arguments[2]);
    victim = open(arguments[3], O_RDONLY | O_DIRECTORY);
    snprintf(tracked, sizeof tracked, "%s/tracked", arguments[3]);
    CHECK(victim >= 0 && setgroups(0, NULL) == 0 && setresgid(user, user, user) == 0 && setresuid(user, user, user) == 0);
    /* Its memory is its own again; before the end it is not, and so /proc/PID is root's. */
    CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
    for (int round = 0; round < 4; round++) {
        if (fork() == 0) {
            attack(arguments[1], round & 1 ? tracked : NULL, round & 2);
        }
        int status;
        CHECK(wait(&status) > 0 && status == 0);
    }
    return 0;
}
