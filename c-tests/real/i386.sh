#!/usr/bin/env bash
# An i386 program on an x86-64 kernel: the same calls by other numbers, and no library reaches it. T1, T3, T7, S1.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# shellcheck source=supervised.sh
. "$(dirname -- "$0")/supervised.sh"
[ "$(uname -m)" = x86_64 ] || skip "i386 programs run on x86-64 only"
need gcc
source_file=$(dirname -- "$(realpath -- "$0")")/i386.c
# Debian keeps the kernel's headers, which both have in common, under x86-64's name.
gcc -m32 -idirafter /usr/include/x86_64-linux-gnu -static -O1 -Wall -Wextra -Werror -o "$scratch/i386" "$source_file" >"$scratch/build" 2>&1 || {
    grep -q 'stubs-32\|libgcc\|skipping incompatible' "$scratch/build" &&
        skip "nothing to build i386 programs with (scripts/setup installs libc6-dev-i386 and lib32gcc)"
    fail "cannot build $source_file: $(cat "$scratch/build")"
}
"$scratch/i386" >"$scratch/out" 2>&1 && fail "the i386 program must want arguments"
grep -q 'argc == 3' "$scratch/out" || skip "this kernel runs no i386 programs"

for what in open openat openat2 publish; do
    control "an i386 program's $what" "$scratch/i386" "$directory" $what
    succeeds "an i386 program's $what" with "$scratch/i386" "$directory" $what
    equal "stderr of an i386 program's $what" "" "$(cat "$scratch/err")"
    assert_empty "after an i386 program's $what"
done
finish
