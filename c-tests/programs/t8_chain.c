// T8: another interposer behind the library stays in the chain: every ordinary open reaches it, exactly once, its answers go
// back as they are, and its refusal of O_TMPFILE is answered like the kernel's. Runs with the fault injector.
#include "check.h"
#include <dlfcn.h>

static unsigned long (*fault_calls)(const char *);
static void (*fault_rules)(const char *);

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    fault_calls = (unsigned long (*)(const char *))dlsym(RTLD_DEFAULT, "fault_calls");
    fault_rules = (void (*)(const char *))dlsym(RTLD_DEFAULT, "fault_rules");
    CHECK(fault_calls != NULL && fault_rules != NULL);
    unsigned long opens = fault_calls("open"), openats = fault_calls("openat");

    int fd = open("/dev/null", O_RDONLY);
    CHECK(fd >= 0 && close(fd) == 0 && fault_calls("open") == opens + 1);
    fd = open64("/dev/null", O_RDONLY);
    CHECK(fd >= 0 && close(fd) == 0 && fault_calls("open") == opens + 2);
    fd = openat(AT_FDCWD, "/dev/null", O_RDONLY);
    CHECK(fd >= 0 && close(fd) == 0 && fault_calls("openat") == openats + 1);
    fd = openat64(AT_FDCWD, "/dev/null", O_RDONLY);
    CHECK(fd >= 0 && close(fd) == 0 && fault_calls("openat") == openats + 2);

    // The modes of created files pass through.
    struct stat status;
    umask(0);
    fd = open(in(argv[1], "file"), O_WRONLY | O_CREAT | O_EXCL, 0641);
    CHECK(fd >= 0 && fstat(fd, &status) == 0 && (status.st_mode & 07777) == 0641 && close(fd) == 0);
    fd = openat(AT_FDCWD, in(argv[1], "second"), O_WRONLY | O_CREAT | O_EXCL, 0614);
    CHECK(fd >= 0 && fstat(fd, &status) == 0 && (status.st_mode & 07777) == 0614 && close(fd) == 0);

    unsigned long links = fault_calls("linkat");
    CHECK(linkat(AT_FDCWD, in(argv[1], "file"), AT_FDCWD, in(argv[1], "third"), 0) == 0);
    CHECK(fault_calls("linkat") == links + 1);
    CHECK(unlink(in(argv[1], "file")) == 0 && unlink(in(argv[1], "second")) == 0 && unlink(in(argv[1], "third")) == 0);

    fault_rules("open:any:5,openat:any:28,linkat:any:122");
    CHECK_FAILS(open("/dev/null", O_RDONLY), EIO);
    CHECK_FAILS(open64("/dev/null", O_RDONLY), EIO);
    CHECK_FAILS(openat(AT_FDCWD, "/dev/null", O_RDONLY), ENOSPC);
    CHECK_FAILS(openat64(AT_FDCWD, "/dev/null", O_RDONLY), ENOSPC);
    CHECK_FAILS(linkat(AT_FDCWD, "/dev/null", AT_FDCWD, "/dev/null", 0), EDQUOT);
    return 0;
}
