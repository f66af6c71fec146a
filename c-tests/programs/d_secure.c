// Section 6: in a set-uid process the library is inert, whatever the environment says. ld.so ignores LD_PRELOAD there, so
// this puts the library where ld.so loads it even then: /etc/ld.so.preload, in a mount namespace of its own.
#include "victim.h"

#include <sched.h>
#include <sys/auxv.h>
#include <sys/mount.h>

#define SOMEBODY 65534

static void copy(const char *from, const char *to, mode_t mode)
{
    char buffer[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    CHECK(in >= 0 && out >= 0);
    for (ssize_t n; (n = read(in, buffer, sizeof buffer)) > 0;)
        CHECK(write(out, buffer, n) == n);
    CHECK(close(in) == 0 && fchmod(out, mode) == 0 && close(out) == 0);
}

static int victim(const char *role)
{
    char dir[] = "d.XXXXXX";
    CHECK(getauxval(AT_SECURE) == (role[0] == 's'));
    CHECK(mkdtemp(dir) == dir && exists(dir));
    CHECK(signal(SIGTERM, SIG_DFL) == SIG_DFL);
    return 7;
}

static int run_as_somebody(const char *image, const char *role)
{
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(setgid(SOMEBODY) == 0 && setuid(SOMEBODY) == 0);
        putenv("TMPSHIM_CLEANUP=nonsense-that-would-be-reported");
        execl(image, image, ".", role, (char *)NULL);
        CHECK(!"exec");
    }
    return ended(pid);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    if (argc > 2)
        return victim(argv[2]);
    const char *library = getenv("LD_PRELOAD");
    CHECK(library);
    char path[PATH_MAX];
    CHECK(getcwd(path, sizeof path - 16));
    strcat(path, "/library.so");
    copy(library, "library.so", 0755);
    copy("/proc/self/exe", "plain", 0755);
    copy("/proc/self/exe", "set-uid", 04755);
    // Libraries named in that file are for everybody; this namespace is this process's.
    CHECK(mkdir("upper", 0755) == 0 && mkdir("work", 0755) == 0);
    CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount("overlay", "/etc", "overlay", 0, "lowerdir=/etc,upperdir=upper,workdir=work") == 0);
    FILE *f = fopen("/etc/ld.so.preload", "w");
    CHECK(f && fprintf(f, "%s\n", path) > 0 && fclose(f) == 0 && chmod("/etc/ld.so.preload", 0644) == 0);
    unsetenv("LD_PRELOAD");

    // The library is there and works: an ordinary program's directory goes, and its bad setting is reported.
    int p[2];
    char said[1024] = "";
    CHECK(pipe2(p, O_CLOEXEC) == 0);
    int errors = dup(2);
    CHECK(dup2(p[1], 2) == 2);
    int plain = run_as_somebody("./plain", "plain"), plain_left = count_names(".", "d.");
    ssize_t plain_said = read(p[0], said, sizeof said - 1);
    int secure = run_as_somebody("./set-uid", "secure"), secure_left = count_names(".", "d.");
    fcntl(p[0], F_SETFL, O_NONBLOCK);
    ssize_t secure_said = read(p[0], said, sizeof said - 1);
    dup2(errors, 2);
    CHECKF(exited(plain, 7) && plain_left == 0 && plain_said > 0, "plain: %#x", plain);
    CHECKF(exited(secure, 7) && secure_left == 1 && secure_said <= 0, "set-uid: %#x, said %s", secure, said);

    CHECK(umount2("/etc", MNT_DETACH) == 0);
    DIR *d = opendir(".");
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            scrub(e->d_name);
    closedir(d);
    return 0;
}
