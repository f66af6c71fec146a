#!/usr/bin/env bash
# A Go program that does with its files what Clair does, static and with cgo, with several goroutines at once and signals
# flying: no error, no file left, no descriptor lost, neither in the program nor in what supervises it. T1, T6, S2, S3.
# CLAIR_FILES says how many files each of the 8 goroutines makes.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# shellcheck source=supervised.sh
. "$(dirname -- "$0")/supervised.sh"
need go
files=${CLAIR_FILES:-30}

source_file=$(dirname -- "$(realpath -- "$0")")/clair.go
build_go 0 "$scratch/clair-static" "$source_file"
build_go 1 "$scratch/clair-cgo" "$source_file"

mkfifo "$scratch/answers"
exec {answers}<>"$scratch/answers"

has_said() {
    grep -qx "$1" "$scratch/said" || ! kill -0 "$front" 2>/dev/null
}
no_more_than_before() {
    [ "$(descriptors "$front")" = "$before" ]
}

storm() { # WHAT PROGRAM...
    local what=$1 before status=0
    shift
    : >"$scratch/said"
    "$tmpshim" run "${run_options[@]}" -- "$@" <"$scratch/answers" >"$scratch/said" 2>"$scratch/err" &
    front=$!
    children=("$front")
    until_true 60 "$what is ready" has_said ready
    mapfile -t children < <(family "$front")
    before=$(descriptors "$front")
    echo >&"$answers"
    until_true $((60 + files)) "$what has done all files" has_said "done"
    kill -0 "$front" 2>/dev/null || fail "$what has ended: $(cat "$scratch/err")"
    # What has answered the last call may not be back at its place yet.
    (until_true 10 "descriptors are as before" no_more_than_before) ||
        fail "$what: descriptors at first: $before; at the end: $(descriptors "$front")"
    assert_empty "$what, while the program lives"
    echo >&"$answers"
    wait "$front" || status=$?
    children=()
    equal "$what: status" 0 "$status"
    assert_empty "after $what"
    printf '%s: %s; %s\n' "$what" "$(cat "$scratch/err")" "$(tr '\n' ' ' <<<"$before")"
}

for kind in static cgo; do
    clair=$scratch/clair-$kind
    control "clair-like program, $kind" sh -c 'printf "\n\n" | "$@"' sh "$clair" . 1 1
    storm "$kind" "$clair" "$directory" 8 "$files"
    if [ "$engine" = notify ]; then
        run_options+=(--without-wait-killable)
        storm "$kind, without WAIT_KILLABLE_RECV" "$clair" "$directory" 8 "$files"
        run_options=("${run_options[@]:0:2}")
    fi
done
finish
