// A tree that no removal may touch, and the means to see whether one has.
#ifndef CANARY_H
#define CANARY_H

#include "victim.h"

#include <ftw.h>

static char *canary_into;
static size_t canary_left;

static int canary_note(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)where;
    int n = snprintf(canary_into, canary_left, "%s %d %o %u %lld %ld.%09ld", path, kind, st->st_mode, st->st_uid,
                     (long long)(S_ISDIR(st->st_mode) ? 0 : st->st_size), (long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
    CHECK(n > 0 && (size_t)n + 64 < canary_left);
    canary_into += n;
    canary_left -= n;
    if (S_ISREG(st->st_mode)) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t got = fd >= 0 ? read(fd, canary_into, 32) : 0;
        close(fd);
        canary_into += got > 0 ? got : 0;
        canary_left -= got > 0 ? got : 0;
    }
    *canary_into++ = '\n';
    *canary_into = 0;
    canary_left--;
    return 0;
}

// What the tree looks like, name by name: kind, mode, owner, size, time and content. To be freed.
static char *portrait(const char *root)
{
    static char buffer[1 << 18];
    canary_into = buffer;
    canary_left = sizeof buffer;
    *buffer = 0;
    // Without FTW_MOUNT: what is mounted below belongs to it.
    CHECK(nftw(root, canary_note, 16, FTW_PHYS) == 0);
    return strdup(buffer);
}

static char *hatch(const char *root)
{
    CHECK(mkdir(root, 0755) == 0 && mkdir(in(root, "sub"), 0700) == 0 && mkdir(in(root, "sub/empty"), 0750) == 0);
    put(in(root, "file"), "song");
    put(in(root, "sub/file"), "another song");
    CHECK(symlink("file", in(root, "link")) == 0);
    for (int i = 0; i < 10; i++) {
        char name[32];
        snprintf(name, sizeof name, "sub/%d", i);
        put(in(root, name), name);
    }
    return portrait(root);
}

static int unharmed(const char *root, const char *before)
{
    char *now = portrait(root);
    int same = strcmp(now, before) == 0;
    free(now);
    return same;
}

#endif
