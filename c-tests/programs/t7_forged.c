// T7: a file that only has a name as a stand-in has in /proc ("… (deleted)") is published by nobody who could not read it
// anyway, and gives nobody rights that it did not give before. Starts as root; the attacker is another user, who can name
// the file (O_PATH) and not open it.
#include "check.h"
#include <grp.h>

#define USER 65534
#define FORGED ".tmpshim-l00112233445566778899aabbccddeeff (deleted)"
#define FORGED_PROGRAM ".tmpshim-lffeeddccbbaa99887766554433221100 (deleted)"

static void forge(const char *name, mode_t mode)
{
    int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
    CHECK(fd >= 0 && write(fd, "secret", 6) == 6 && fchmod(fd, mode) == 0 && close(fd) == 0);
}

// Whether it has got the name `to`.
static int publish(const char *name, int flags, const char *to)
{
    // Whoever has made a stand-in before is asked about names like these.
    int own = OPEN(".", O_TMPFILE | O_RDWR, 0600);
    CHECK(own >= 0);
    int fd = open(name, flags);
    CHECK(fd >= 0);
    int done = linkat(AT_FDCWD, fd_path(fd), AT_FDCWD, to, AT_SYMLINK_FOLLOW);
    CHECK(close(fd) == 0 && close(own) == 0);
    return done == 0;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2 && chdir(argv[1]) == 0 && chmod(".", 01777) == 0);
    umask(0);
    forge(FORGED, 0600);
    forge(FORGED_PROGRAM, 04755);
    IN_CHILD(CHECK(setgroups(0, NULL) == 0 && setgid(USER) == 0 && setuid(USER) == 0);
             CHECK(open(FORGED, O_RDONLY) == -1 && errno == EACCES);
             CHECK(!publish(FORGED, O_PATH, "stolen"));
             publish(FORGED_PROGRAM, O_RDONLY, "program"));
    struct stat status;
    CHECK(lstat("stolen", &status) == -1 && errno == ENOENT);
    // A copy of what everybody may read is his own. A link, where the kernel allows one, is the file itself.
    struct stat original;
    CHECK(lstat(FORGED_PROGRAM, &original) == 0 && original.st_uid == 0 && (original.st_mode & 07777) == 04755);
    if (lstat("program", &status) == 0 && status.st_ino != original.st_ino)
        CHECK(status.st_uid == USER && (status.st_mode & 07000) == 0);
    // Or it would show nothing: who may read it gets it under the new name.
    char text[8] = "";
    CHECK(publish(FORGED, O_RDONLY, "given"));
    int fd = open("given", O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof text) == 6 && memcmp(text, "secret", 6) == 0 && close(fd) == 0);
    unlink("given");
    unlink("program");
    CHECK(unlink(FORGED) == 0 && unlink(FORGED_PROGRAM) == 0);
    return 0;
}
