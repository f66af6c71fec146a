#!/usr/bin/env bash
# The calls of a traced program, seen from outside of it (nothing else can trace it): without O_TMPFILE exactly those that it
# makes natively; with it, besides those, what a file that stands in takes, and once the mapping of memory for that. S1, T8.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# shellcheck source=supervised.sh
. "$(dirname -- "$0")/supervised.sh"
need gcc strace
[ "$(uname -m)" = x86_64 ] || skip "the numbers of system calls below are those of x86-64"
beside=$(dirname -- "$(realpath -- "$0")")
build_c "$scratch/from_outside" "$beside/../killer/from_outside.c" -static
cat >"$scratch/opens.c" <<'C'
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

// Opens as often as it is told; getppid comes before each.
int main(int argc, char **argv)
{
    for (int left = atoi(argv[argc - 1]); left > 0; left--) {
        syscall(SYS_getppid);
        int fd = open(argv[1], O_TMPFILE | O_RDWR, 0644);
        if (fd < 0 || write(fd, "abc", 3) != 3)
            return 1;
        close(fd);
    }
    return 0;
}
C
build_c "$scratch/opens" "$scratch/opens.c" -static

# listed OUT NAME COMMAND...: the calls of processes of that name, by number, with their paths.
listed() {
    local out=$1 name=$2
    shift 2
    "$scratch/from_outside" -l "$name" "$@" 3>"$out" >"$scratch/out" 2>"$scratch/err" || fail "$name: $(seen)"
    [ -s "$out" ] || fail "no calls of $name were seen"
}

# compare NAME COMMAND...
compare() {
    local name=$1
    shift
    listed "$scratch/native" "$name" "$@"
    listed "$scratch/traced" "$name" "$tmpshim" run "${run_options[@]}" -- "$@"
    cmp -s "$scratch/native" "$scratch/traced" || fail "other calls of $name: $(diff "$scratch/native" "$scratch/traced" | head -20)"
}

mkdir work
echo text >work/marker
compare cat /bin/cat work/marker
compare ls /bin/ls -l work/marker
compare sed /bin/sed -n p work/marker
compare tar /bin/tar -cf work/archive work/marker
compare opens "$scratch/opens" "$directory" 0
rm -r work

# What stands between the getppid of one open and that of the next.
part() { # NUMBER FILE
    awk -v wanted="$1" '$1 == 110 { part++; next } part == wanted { print $1 }' "$2" | sort -n | uniq -c | awk '{ print $2 }'
}
listed "$scratch/traced" opens "$tmpshim" run "${run_options[@]}" -- "$scratch/opens" "$directory" 3
# Those of a file that stands in: open, unlink and link in their forms, modes and identity, descriptors.
allowed='openat newfstatat fstat statfs fstatfs statx readlinkat readlink unlinkat mkdirat linkat fchmod fchmodat dup3 close fcntl getrandom
    gettid getuid geteuid getgid getegid getpid read pread64 pwrite64 lseek umask getxattr fgetxattr lgetxattr rt_sigprocmask capget prctl write name_to_handle_at'
names() { # NUMBER...
    local number
    for number; do
        awk -v number="$number" '$1 == "#define" && $3 == number { sub("__NR_", "", $2); print $2 }' /usr/include/x86_64-linux-gnu/asm/unistd_64.h
    done
}
only_allowed() { # WHAT MORE NUMBER...
    local what=$1 more=$2 name
    shift 2
    for name in $(names "$@"); do
        [[ " $(tr -s '\n ' ' ' <<<"$allowed") $more " == *" $name "* ]] || fail "$what: $name, besides $(names "$@" | tr '\n' ' ')"
    done
}
# shellcheck disable=SC2046 # words are wanted
{
    only_allowed "the first open" "mmap" $(part 1 "$scratch/traced")
    only_allowed "the second open" "" $(part 2 "$scratch/traced")
}
if [ $native = yes ]; then
    listed "$scratch/native" opens "$scratch/opens" "$directory" 3
    cmp -s "$scratch/native" "$scratch/traced" || fail "other calls where O_TMPFILE works: $(diff "$scratch/native" "$scratch/traced")"
else
    equal "mappings in the first open" 2 "$(awk '$1 == 110 { part++ } part == 1 && $1 == 9' "$scratch/traced" | wc -l)"
    # shellcheck disable=SC2046 # words are wanted
    printf '%s\n' "the second open: $(names $(part 2 "$scratch/traced") | tr '\n' ' ')"
fi
finish
