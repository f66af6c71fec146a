#!/usr/bin/env bash
# Programs that put themselves, or what they start, under a seccomp filter of their own: a system call that they never made
# is an error there, or death. man-db filters every decompressor and formatter that it starts, and file itself. Chromium-like
# sandboxes kill. T8, design 6.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

if command -v man >/dev/null; then
    # A page of our own: packages without documentation are usual in containers.
    mkdir -p man/man1
    printf '.TH SHIMPAGE 1\n.SH NAME\nshimpage \\- a page\n.SH DESCRIPTION\nText of the page.\n' | gzip >man/man1/shimpage.1.gz
    same "man" env MANPATH="$directory/man" MANPAGER=cat man shimpage
    grep -q 'Text of the page' "$scratch/out" || fail "man shows nothing: $(seen)"
    same "man -l of a plain page" sh -c 'gzip -dc man/man1/shimpage.1.gz >page.1 && MANPAGER=cat man -l page.1'
    same "man of a page that is not there" env MANPATH="$directory/man" man no-such-page
    same "apropos" env MANPATH="$directory/man" apropos -s 9 nothing
    rm -rf man page.1
fi
if command -v file >/dev/null; then
    printf 'GIF89a\1\0\1\0' >a.gif
    echo text | gzip >a.gz
    same "file" file a.gif /bin/sh /dev/null .
    same "file, into a compressed file" file -z a.gz
    same "file, from stdin" sh -c 'file - <a.gif'
    same "file, a list" sh -c 'printf "a.gif\na.gz\n" | file -f -'
    rm a.gif a.gz
fi

# A filter as the sandboxes have it, put on by a program of one page: everything that reading, writing and leaving need is
# allowed, all else kills. Not one call may be added on the success path, nor by leaving.
need gcc
cat >"$scratch/sandbox.c" <<'C'
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#define ALLOW(name) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
int main(int argc, char **argv)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(openat), ALLOW(read), ALLOW(write), ALLOW(close), ALLOW(exit_group), ALLOW(newfstatat), ALLOW(linkat),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
    char text[4];
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return 77;
    int fd = open("/proc/self/maps", O_RDONLY);
    if (fd < 0 || read(fd, text, sizeof text) < 0 || close(fd))
        return 2;
    if (open("/nowhere", O_RDONLY) != -1 || errno != ENOENT)
        return 3;
    fd = open("file", O_CREAT | O_WRONLY | O_EXCL, 0600);
    if (fd < 0 || write(fd, "text", 4) != 4 || close(fd))
        return 4;
    if (linkat(AT_FDCWD, "file", AT_FDCWD, "second", 0))
        return 5;
    if (linkat(AT_FDCWD, "file", AT_FDCWD, "second", 0) != -1 || errno != EEXIST)
        return 6;
    /* Where the filesystem has O_TMPFILE, that too is one call. */
    if (argc > 1 && (fd = open(".", O_TMPFILE | O_RDWR, 0600)) < 0)
        return 7;
    if (argc > 1 && close(fd))
        return 8;
    return 0;
}
C
gcc -O1 -o "$scratch/sandbox" "$scratch/sandbox.c" || fail "cannot build the sandboxed program"
has=
[ $native = no ] || has=tmpfile
same "a program that kills itself for any other system call" sh -c 'rm -f file second; exec "$@"' sh "$scratch/sandbox" $has
[ "$status" != 77 ] || skip "no seccomp filter can be installed here"
equal "status of the sandboxed program without the library" 0 "$status"
rm -f file second
finish
