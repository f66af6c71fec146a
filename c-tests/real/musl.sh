#!/usr/bin/env bash
# A program that is linked to musl: its ld.so knows LD_PRELOAD, but has no libgcc_s, no symbol versions and another libc.
# T1, T7, D2, D4, design 8.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# shellcheck source=probe.sh
. "$(dirname -- "$0")/probe.sh"
need musl-gcc
sources=$(dirname -- "$(realpath -- "$0")")
musl-gcc -O1 -o "$scratch/probe" "$sources/probe.c" -pthread || fail "cannot build probe.c with musl-gcc"
interpreter=$(LC_ALL=C readelf -l "$scratch/probe" | sed -nE 's/.*interpreter: ([^]]*)\]/\1/p')
[ -x "$interpreter" ] || skip "musl's ld.so is not at $interpreter"

control "a musl program's O_TMPFILE" "$scratch/probe" return
rm -rf made.* published
ulimit -c 0
probe_builds musl "$scratch/probe" "$library" "signal 11"
# Two preloads, and musl's way to separate them.
succeeds "a musl program with the library twice" env LD_PRELOAD="$library $library" "$scratch/probe" return
rm -f published
finish
