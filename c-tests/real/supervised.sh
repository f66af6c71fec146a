# shellcheck shell=bash
# For programs under the supervised engine. Sourced after common.sh; from here on, `with` is `tmpshim run`.
# shellcheck disable=SC2154 # of common.sh
[ -x "$tmpshim" ] || fail "TMPSHIM_BIN must be the path of tmpshim"
# For scripts that do something else besides.
[ "$engine" != preload ] || engine=notify
run_options=(--engine "$engine")
if [ "$engine" = old-kernel ]; then
    # What `tmpshim run` does by itself on a kernel without user notification.
    need gcc
    gcc -O1 -static -o "$scratch/old_kernel" "$(dirname -- "$(realpath -- "$0")")/../harness/src/old_kernel.c" || fail "cannot build old_kernel.c"
    printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$scratch/old_kernel" "$tmpshim" >"$scratch/tmpshim"
    chmod 755 "$scratch/tmpshim"
    tmpshim=$scratch/tmpshim
    run_options=(--engine auto)
fi

with() {
    "$tmpshim" run "${run_options[@]}" -- "$@"
}

(with true) >"$scratch/out" 2>&1 || {
    grep -q 'no supervisor\|cannot supervise' "$scratch/out" && skip "no supervisor can be had here: $(cat "$scratch/out")"
    fail "tmpshim run -- true: $(cat "$scratch/out")"
}

# family PID: it and all that descend from it.
family() {
    local child
    printf '%s\n' "$1"
    cat "/proc/$1/task"/*/children 2>/dev/null | tr ' ' '\n' | while read -r child; do
        family "$child"
    done
}

# What each of them has open, as NAME NUMBER lines. Each thread of the supervisor has the root directory open, and there are as
# many of them as there were calls at once: those do not count.
descriptors() { # PID
    local process
    for process in $(family "$1"); do
        printf '%s %s\n' "$(cat "/proc/$process/comm")" "$(find "/proc/$process/fd" -mindepth 1 -printf '%l\n' | grep -cvx /)"
    done 2>/dev/null | sort
}

build_go() { # CGO_ENABLED OUTPUT SOURCE
    CGO_ENABLED=$1 go build -o "$2" "$3" >"$scratch/build" 2>&1 || fail "cannot build $3: $(cat "$scratch/build")"
}

build_c() { # OUTPUT SOURCE [OPTION...]
    gcc -std=gnu11 -O1 -Wall -Wextra -Werror "${@:3}" -o "$1" "$2" >"$scratch/build" 2>&1 || fail "cannot build $2: $(cat "$scratch/build")"
}
