#!/usr/bin/env bash
# SIGKILL at every system call that a program, its supervisor and whatever helps that make, from just before an O_TMPFILE open,
# a publishing linkat or a tracked mkdir to the end: first to whoever makes the call, then to the program, whoever makes it.
# Nobody hangs, what lives goes on, and after one `tmpshim sweep`, or the next run, nothing is left. T5, D5, S6.
# Every KILL_STEP-th call is tried. Then the same at KILL_STORMS random moments each, while many threads open files.
if [ -z "${IN_NAMESPACES-}" ] && [ "$(id -u)" = 0 ] && unshare --mount --pid --fork --mount-proc true 2>/dev/null; then
    # A PID namespace of its own shows who is left.
    IN_NAMESPACES=yes exec unshare --mount --propagation private --pid --fork --kill-child --mount-proc -- "$0" "$@"
fi
storms=${KILL_STORMS:-1}
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
[ -n "${IN_NAMESPACES-}" ] || skip "no new PID and mount namespace can be had here"
# shellcheck source=supervised.sh
. "$(dirname -- "$0")/supervised.sh"
need gcc
beside=$(dirname -- "$(realpath -- "$0")")
if [ "$engine" = trace ]; then
    # Nobody else can trace what is traced. It has one stop a call.
    step=${KILL_STEP:-41} killer=from_outside
else
    step=${KILL_STEP:-97} killer=kill_at
fi
build_c "$scratch/killer" "$beside/../killer/$killer.c" -static
build_c "$scratch/killed-static" "$beside/killed.c" -static
build_c "$scratch/killed-libc" "$beside/killed.c"
result=$scratch/result

nobody_else() {
    set -- /proc/[0-9]*
    [ $# = 1 ]
}

# What a published file may be: there as a whole, or not at all.
take_target() {
    if [ -e target ]; then
        equal "$1: what was published" "all of it" "$(cat target)"
        # Where it was to keep a hidden name, group and others are let in last.
        [[ $(stat -c %a target) == 6[04][04] ]] || fail "$1: mode of what was published: $(stat -c %a target)"
        rm target
    fi
}

recover() { # N
    if [ $(($1 / step % 2)) = 0 ]; then
        sweep
    else
        rm -f "$result"
        succeeds "the next run" with "$scratch/killed-static" "$result" open
    fi
}

# kill_each OPTIONS KIND ROLE: until the program ends before the N-th stop.
kill_each() {
    local options=$1 kind=$2 role=$3 n said what left tried=0 something=0 cut=0 allowed
    # From a supervisor that is gone, or has lost its helper, comes the kernel's own answer. Libc programs have the library.
    case $kind-$role in
        # The supervisor may have linked the file and not said so: it is EEXIST, or the kernel's ENOSYS, once the descriptor is the
        # published file's. Of a hidden name in its journal the library knows nothing.
        libc-publish) allowed="ok|EEXIST|published${NAMES_STAY:+|ENOSYS}" ;;
        libc-*) allowed='ok' ;;
        static-publish) allowed='ok|EEXIST|published|ENOSYS|ENOENT' ;;
        *) allowed='ok|ENOSYS|EOPNOTSUPP' ;;
    esac
    [ "$role" != track ] || allowed='ok|ENOSYS'
    for ((n = 1; ; n += step)); do
        rm -f "$result"
        status=0
        "$scratch/killer" "$options" $n "$tmpshim" run "${run_options[@]}" -- "$scratch/killed-$kind" "$result" "$role" \
            >"$scratch/out" 2>"$scratch/err" || status=$?
        said=$(tail -n 1 "$scratch/out")
        what="$kind $role, $options stop $n: $said"
        case $status in
            0) tried=$((tried + 1)) ;;
            3) break ;;
            *) fail "$what: $killer's status $status (142: somebody hangs); $(cat "$scratch/err")" ;;
        esac
        until_true 10 "nobody is left; $what: $(ps -eo pid,comm,args)" nobody_else
        if grep -qvxE "$allowed|end" "$result"; then
            fail "$what: the program has seen $(tr '\n' ' ' <"$result")"
        fi
        left=$(find "$directory" "$scratch/state" -mindepth 1 ! -name target -printf '%P ')
        if [ -n "$left" ]; then
            something=$((something + 1))
        fi
        case $options in
            # The supervisor lives: it cleans up behind the program by itself.
            *t*) [ -z "$(left_after_release "$directory" ! -name target)" ] || fail "$what: left: $left" ;;
            *)
                if [[ $said != *" of killed-"* ]] && ! grep -qx end "$result"; then
                    # A tracer that is killed while a thread maps memory for it takes the program with it.
                    [ "$engine" = trace ] || fail "$what: the program has not come to its end"
                    cut=$((cut + 1))
                fi
                ;;
        esac
        recover $n
        take_target "$what"
        # The call that a tracer looks at when it is killed is made by the kernel: a directory of the program's own.
        if [[ $engine-$options-$role-$said == trace-*d-track-*" of tmpshim" && $options != *t* ]]; then
            find . -name 'tracked.[01]' -empty -printf x -delete >"$scratch/own"
            [ "$(wc -c <"$scratch/own")" -le 1 ] || fail "$what: more than one directory is left"
        fi
        assert_empty "$what"
        left=$(left_after_release "$scratch/state")
        [ -z "$left" ] || fail "$what: left in the state directory: $left"
    done
    equal "$what" "ended with status 0" "${said%% after*}"
    equal "the end of what nobody has killed" "ok ok end" "$(tr '\n' ' ' <"$result" | sed 's/ $//')"
    [ $tried -gt 0 ] || fail "$what: nobody has been killed"
    rm -f target
    assert_empty "$what"
    printf '%s %s %s: %d killed at as many of %s, %d times with something left, %d times with the program\n' "$kind" "$role" \
        "$options" $tried "${said##*after }" $something $cut
    [ $((cut * 2)) -le $tried ] || fail "$what: $cut programs have gone with their tracers"
}

need go
build_go 0 "$scratch/clair" "$beside/clair.go"
mkfifo "$scratch/answers"
exec {answers}<>"$scratch/answers"
named() { # NAME PID...: those of the processes that have this name
    local name=$1 process
    shift
    for process in "$@"; do
        [ "$(cat "/proc/$process/comm" 2>/dev/null)" != "$name" ] || printf '%s\n' "$process"
    done
}
has_ended() {
    ! kill -0 "$1" 2>/dev/null
}

# killed_in_storm WHO: program, supervisor or front.
killed_in_storm() {
    local front target victim what
    : >"$scratch/said"
    : >"$scratch/err"
    "$tmpshim" run "${run_options[@]}" -- "$scratch/clair" "$directory" 4 1000000 <"$scratch/answers" >"$scratch/said" 2>"$scratch/err" &
    front=$!
    children=("$front")
    until_true 60 "the storm is ready: $(cat "$scratch/err")" grep -qx ready "$scratch/said"
    # shellcheck disable=SC2046 # words are wanted
    target=$(named clair $(family $front))
    echo >&"$answers"
    case $1 in
        program) victim=$target ;;
        supervisor) victim=$(ps -o ppid= "$target") ;;
        front) victim=$front ;;
    esac
    # Not to wait for something: for any instant.
    sleep "0.$((RANDOM % 200 + 100))"
    what="$1 killed in a storm"
    kill -KILL "$victim" || fail "$what: it has ended before: $(cat "$scratch/err")"
    # What lives goes on until it is told to end. A static program without its supervisor has nothing to go on with.
    [ "$1" != front ] || kill -KILL "$target" || fail "$what: the program must live; $(cat "$scratch/err")"
    until_true 30 "the program has ended; $what: $(cat "$scratch/err")" has_ended "$target"
    wait $front 2>/dev/null || true
    children=()
    until_true 30 "nobody is left; $what: $(ps -eo pid,comm,args)" nobody_else
    recover "$RANDOM"
    assert_empty "$what"
    left=$(left_after_release "$scratch/state")
    [ -z "$left" ] || fail "$what: left in the state directory: $left"
}

for ((n = 0; n < storms; n++)); do
    for who in program supervisor front; do
        killed_in_storm $who
    done
done

for options in -mq -mqt; do
    run_options=(--engine "$engine")
    for role in open publish; do
        kill_each $options static $role
    done
    run_options=(--engine "$engine" --track '*/tracked.*')
    # What a tracer is told of, nobody else is.
    [ "$engine" = notify ] || options=${options}d
    kill_each $options static track
    [ "$engine" = notify ] || continue
    run_options=(--engine auto)
    for role in open publish; do
        kill_each $options libc $role
    done
    run_options=(--engine notify --without-wait-killable)
    kill_each $options static open
done
finish
