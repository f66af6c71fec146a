#!/usr/bin/env bash
# Programs built with AddressSanitizer: it interposes libc as well, has handlers for SIGSEGV, and looks for leaks at exit from
# a clone that shares memory. Its dynamic runtime insists on being first. T1, T7, D2, D4, D7, T8.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# shellcheck source=probe.sh
. "$(dirname -- "$0")/probe.sh"
need gcc
source=$(dirname -- "$(realpath -- "$0")")/probe.c
ulimit -c 0
built=0

asan() { # NAME PRELOAD COMPILER...
    local name=$1 preload=$2
    shift 2
    if ! "$@" -O1 -g -w -fsanitize=address -o "$scratch/probe" "$source" -pthread 2>"$scratch/err"; then
        echo "no $name here: $(head -n 1 "$scratch/err")" >&2
        return 0
    fi
    built=$((built + 1))
    control "$name" env ${preload:+"LD_PRELOAD=$preload"} "$scratch/probe" return
    rm -rf made.* published
    # ASan's own report is how a crash ends there: exit status 1.
    probe_builds "$name" "$scratch/probe" "${preload:+$preload }$library" "exit 1"
}
# The compiler's own: a machine with gcc-multilib has others.
runtime=$(gcc -print-file-name=libasan.so.8)
[ ! -e "$runtime" ] || asan "gcc, dynamic runtime first" "$runtime" gcc
asan "gcc, static runtime" "" gcc -static-libasan
if command -v clang >/dev/null; then
    asan "clang, static runtime" "" clang
    shared=$(clang -print-file-name=libclang_rt.asan-x86_64.so)
    [ ! -e "$shared" ] || asan "clang, dynamic runtime first" "$shared" clang -shared-libasan -Wl,-rpath,"$(dirname "$shared")"
fi
[ $built -gt 0 ] || skip "no compiler has an AddressSanitizer runtime (scripts/setup installs libasan8)"
finish
