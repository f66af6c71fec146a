#!/usr/bin/env bash
# A node, for cluster.sh: process 1 of a PID namespace. A program of root's and one of a user's have left directories; the
# DaemonSet's container, with /run, /dev/shm and everything else of its own, removes them, and nobody else's files.
# shellcheck disable=SC2154 # from cluster.sh, by the environment
set -eu
fail() {
    printf '%s\n' "$*"
    exit 1
}
until_true() {
    local deadline=$((SECONDS + 30)) what=$1
    shift
    until "$@"; do
        [ "$SECONDS" -le "$deadline" ] || fail "waited too long until $what"
        sleep 0.02
    done
}
contain() { # POD
    "$python" "$beside/cluster.py" "$beside/container.py" "$profile" "$volumes" "$images/tmpshim" sweep <"$1" >"$bundle/config.json"
    exec runc --root "$runs" run --bundle "$bundle" "$name"
}

[ $$ = 1 ] || fail "not process 1"
unset TMPSHIM_STATE_DIR XDG_RUNTIME_DIR
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
cd "$directory"
for user in 0 65534; do
    : >"$scratch/$user"
    LD_PRELOAD=$library setpriv --reuid $user --regid $user --clear-groups "$images/scanner/scanner" "$directory" >"$scratch/$user" &
    until_true "a program of user $user is ready" grep -q ready "$scratch/$user"
    kill -KILL $!
    wait $! || true
done
# What root's program may have left to others: it takes more than to be root to remove that.
for made in made.*/; do
    if [ "$(stat -c %u "$made")" = 0 ]; then
        mkdir -m 1700 "$made/inner"
        touch "$made/inner/file"
        chown 1000 "$made/inner/file"
        chown 65534 "$made/inner"
    fi
done
mkdir other
[ "$(echo made.*/ | wc -w)" = 2 ] || fail "the programs have left nothing: $(ls -A)"
[ "$(find /run/tmpshim /dev/shm/tmpshim-65534 -type f | wc -l)" = 2 ] || fail "no journals: $(find /run /dev/shm)"

sed 's/hostPID: true/hostPID: false/' "$scratch/daemonset.yaml" >"$scratch/alone.yaml"
status=0
(contain "$scratch/alone.yaml") >"$scratch/said" 2>&1 </dev/null || status=$?
[ $status = 1 ] || fail "without hostPID: $status, $(cat "$scratch/said")"
grep -q 'set hostPID: true in the pod' "$scratch/said" || fail "without hostPID: $(cat "$scratch/said")"

: >"$scratch/said"
(contain "$scratch/daemonset.yaml") >"$scratch/said" 2>"$scratch/err" </dev/null &
until_true "the sweep has ended: $(cat "$scratch/err")" grep -q '"event":"summary"' "$scratch/said"
said=$(cat "$scratch/said" "$scratch/err")
[ "$(ls -A)" = other ] || fail "left: $(ls -A); the sweep says: $said"
[ -z "$(find /run/tmpshim /dev/shm/tmpshim-65534 -type f)" ] || fail "journals are left; the sweep says: $said"
[ "$(grep -c '"event":"removed".*"kind":"directory".*"program":"scanner"' "$scratch/said")" = 2 ] || fail "the sweep says: $said"
runc --root "$runs" kill "$name" TERM
status=0
wait $! || status=$?
[ $status = 0 ] || fail "the sweep ends with $status: $said"
rmdir other
