# shellcheck shell=bash
# Runs a build of probe.c in every way it can end. Sourced after common.sh.
# shellcheck disable=SC2154 # of common.sh

# probe_builds NAME BINARY PRELOAD SEGV: PRELOAD is the whole LD_PRELOAD; SEGV is how a crash ends there.
probe_builds() {
    local name=$1 binary=$2 preload=$3 crash=$4 how what signal
    for how in "return none|exit 0" "exit none|exit 5" "_exit none|exit 6" "abort none|signal 6" "crash none|$crash" \
        "sleep TERM|signal 15" "sleep INT|signal 2" "sleep HUP|signal 1"; do
        read -r what signal <<<"${how%|*}"
        equal "$name, $what $signal: how it ends" "${how#*|}" \
            "$(chain=$preload end_of "$signal" "$binary" "$what" 2>"$scratch/err")"
        grep -q '^made\.' "$scratch/first" || fail "$name, $what $signal: $(cat "$scratch/err")"
        if [ "$what" != abort ] && [ "$what" != crash ]; then
            equal "$name, $what $signal: stderr" "" "$(cat "$scratch/err")"
        fi
        equal "$name, $what $signal: what was published" "text and more" "$(cat published)"
        equal "$name, $what $signal: mode of what was published" 640 "$(stat -c %a published)"
        rm published
        if [ "$what $crash" = "crash exit 1" ]; then
            # ASan ends the process with a system call of its own, which no preload sees.
            sweep
        fi
        assert_empty "after $name, $what $signal"
    done
}
