#!/usr/bin/env bash
# T9: a Go program built with cgo is dynamic, so that the library is loaded, and makes its system calls itself, so that no
# hook fires. The library starts the command line once more, under the `tmpshim run` that lies beside it; and goes on, and
# says so on the log, where that cannot be.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
need go gcc perl ldd unshare mount setpriv
sources=$(dirname -- "$0")
go=$scratch/'a go program'
log=$scratch/notes/log

# Every way to link one; the first is what `go build` does where a package uses C.
GOCACHE=${GOCACHE:-$cache/go} CGO_ENABLED=1 GO111MODULE=off GOFLAGS= && export GOCACHE CGO_ENABLED GO111MODULE GOFLAGS
succeeds "go build" go build -o "$go" "$sources/go.go"
succeeds "go build, PIE" go build -buildmode=pie -o "$scratch/pie" "$sources/go.go"
succeeds "go build, Go's own linker" go build -ldflags=-linkmode=internal -o "$scratch/internal" "$sources/go.go"
unset GOCACHE CGO_ENABLED GO111MODULE GOFLAGS

# The library: alone, with a stand-in that shows what is executed, and with the command.
mkdir "$scratch/alone" "$scratch/beside" "$scratch/whole"
for place in alone beside whole; do
    install -m 755 "$library" "$scratch/$place/libtmpshim.so"
done
succeeds gcc gcc -static -O1 -Wall -Wextra -Werror -o "$scratch/beside/tmpshim" "$sources/go_stand_in.c"
mkdir -m 1777 "$scratch/notes"
export STAND_IN=$scratch/notes/executed

# under PLACE COMMAND...: under the library there, with a fresh log.
under() {
    local place=$1
    shift
    rm -f "$log" "$STAND_IN"
    LD_PRELOAD=$scratch/$place/libtmpshim.so TMPSHIM_LOG=$log "$@"
}

# goes_on WHAT ERRNO: the program was not started again, for this reason, and that was said once.
goes_on() {
    [ ! -e "$STAND_IN" ] || fail "$1: started again: $(tr '\0' '|' <"$STAND_IN")"
    [ -e "$log" ] || fail "$1: nothing on the log"
    equal "$1: lines on the log" 1 "$(wc -l <"$log")"
    grep -qE "\"event\":\"go-program\".*tmpshim run.*\"errno\":$2}" "$log" ||
        fail "$1: the log must say that the preload cannot help, errno $2, and says $(cat "$log")"
}

# Alone it fails as without the library, but says why.
control "a Go program" "$go" tmpfile "$directory"
for built in "$go" "$scratch/pie" "$scratch/internal"; do
    control "$built, no command beside" under alone "$built" tmpfile "$directory"
    goes_on "$built, no command beside" 2
    control "$built, TMPSHIM_REEXEC=off" under beside env TMPSHIM_REEXEC=off "$built" tmpfile "$directory"
    goes_on "$built, TMPSHIM_REEXEC=off" 125
    for setting in TMPSHIM=off TMPSHIM_TMPFILE=off; do
        control "$built, $setting" under beside env "$setting" "$built" tmpfile "$directory"
        gone "$log" "$built, $setting: the log"
        gone "$STAND_IN" "$built, $setting: what was executed"
    done
    run under beside "$built" exit 3
    equal "$built: exit status" 3 "$status"
    equal "$built: executed" "$scratch/beside/tmpshim|run|--best-effort|--arg0|$built|--|$built|exit|3|" "$(tr '\0' '|' <"$STAND_IN")"
    # The stand-in could have no supervisor: it ends there.
    rm "$STAND_IN"
    goes_on "$built, started again and nothing above" 125
done

# What is no Go program is not looked at any further.
succeeds "a C program" under beside cat /dev/null
[ ! -e "$STAND_IN" ] || fail "a C program was started again"

# Another library that has replaced the environment by then.
echo '#include <stdlib.h>
__attribute__((constructor)) static void start(void) { setenv("ADDED", "by a library", 1); }' >"$scratch/other.c"
succeeds gcc gcc -shared -fPIC -o "$scratch/other.so" "$scratch/other.c"
rm -f "$STAND_IN"
succeeds "with another library" env LD_PRELOAD="$scratch/beside/libtmpshim.so:$scratch/other.so" "$go" tell
exists "$STAND_IN" "the call of the command, with another library"
grep -qF 'variable "ADDED=by a library"' "$scratch/out" || fail "the other library's variable is lost"

# The same process to its parent, with everything that an exec keeps.
mkdir "$scratch/odd  directory"
odd=("" "a b" $'new\nline' -- -x --arg0 "*" '$HOME' $'\xff' "$(seq -s, 20000)")
for ((i = 0; i < 5000; i++)); do odd+=("$i"); done
everything() { # PLACE NAME VARIABLE...: prints what the program tells, without its pid; to the stand-in it must be ours
    (
        cd "$scratch/odd  directory"
        trap '' HUP
        umask 027
        env -i LD_PRELOAD="$scratch/$1/libtmpshim.so" "STAND_IN=$STAND_IN" "ODD= a"$'\n'"b=c" EMPTY= "${@:3}" perl -e '
            use POSIX;
            sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGUSR2));
            my $path = shift;
            exec {$path} @ARGV or die;' "$go" "$2" tell "${odd[@]}" >"$scratch/told" &
        wait $! || fail "status $? of a program called '$2'"
        [ "$1" = whole ] || grep -qx "pid $! $!" "$scratch/told" || fail "not the process that was started: $(head -n 1 "$scratch/told"), started $!"
        grep -v '^pid ' "$scratch/told"
    ) || fail "a program called '$2'"
}
for name in "$go" "an odd  name" "" -login; do
    rm -f "$STAND_IN"
    by_itself=$(everything beside "$name" TMPSHIM_REEXEC=off)
    [ ! -e "$STAND_IN" ] || fail "started again with TMPSHIM_REEXEC=off"
    again=$(everything beside "$name")
    [ -e "$STAND_IN" ] || fail "a program called '$name' was not started again"
    [ "$by_itself" = "$again" ] ||
        fail "called '$name', not the same when started again: $(diff <(echo "$by_itself") <(echo "$again") | head -c 2000)"
    grep -qx 'HUP ignored true, TERM ignored false' <<<"$again" || fail "signals: $(grep ignored <<<"$again")"
    grep -qE '^SigBlk:.*0*800$' <<<"$again" || fail "the signal mask: $(grep SigBlk <<<"$again")"
    equal "the umask" $'Umask:\t0027' "$(grep Umask <<<"$again")"
done

for signal in TERM KILL HUP; do
    equal "ended by $signal" "signal $(kill -l $signal)" \
        "$(chain=$scratch/beside/libtmpshim.so end_of $signal "$go" wait)"
done

# What is not to be trusted, or not the program that runs.
chmod o+w "$scratch/beside/tmpshim"
succeeds "a command that others may write to" under beside "$go" tell
goes_on "a command that others may write to" 13
chmod 644 "$scratch/beside/tmpshim"
succeeds "a command that cannot be executed" under beside "$go" tell
goes_on "a command that cannot be executed" 13
chmod 755 "$scratch/beside/tmpshim"
loader=$(ldd "$go" | sed -nE 's,^\t(/[^ ]*/ld-[^ ]*) .*,\1,p')
succeeds "by the loader" under beside "$loader" "$go" tell
goes_on "by the loader" 116
cp "$go" "$scratch/deleted"
cp "$(type -P true)" "$scratch/deleted (deleted)"
exec 9<"$scratch/deleted"
rm "$scratch/deleted"
succeeds "a deleted program" under beside /proc/self/fd/9 tell
exec 9<&-
goes_on "a deleted program" 116
if [ "$(id -u)" = 0 ]; then
    chown 65534 "$scratch/beside/tmpshim"
    succeeds "another user's command" under beside "$go" tell
    goes_on "another user's command" 13
    chown 0 "$scratch/beside/tmpshim"
    succeeds "without /proc" under beside unshare --mount sh -c 'mount -t tmpfs none /proc && exec "$@"' - "$go" tell
    goes_on "without /proc" 2

    # Set-uid: ld.so ignores LD_PRELOAD there, but not this file.
    install -m 4755 "$go" "$scratch/set-uid"
    cat >"$scratch/for-all.sh" <<'SH'
set -eu
mkdir "$1/mounted"
mount -t tmpfs none "$1/mounted"
mkdir "$1/mounted/upper" "$1/mounted/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$1/mounted/upper,workdir=$1/mounted/work" none /etc
echo "$1/beside/libtmpshim.so" >/etc/ld.so.preload
chmod 644 /etc/ld.so.preload
shift
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
SH
    chmod 755 "$go"
    for built in "$go" "$scratch/set-uid"; do
        rm -rf "$log" "$STAND_IN" "$scratch/mounted"
        succeeds "$built in everybody's library" \
            env TMPSHIM_LOG="$log" unshare --mount sh "$scratch/for-all.sh" "$scratch" "$built" tell
        [ "$built" = "$scratch/set-uid" ] || exists "$STAND_IN" "the call of the command in everybody's library"
    done
    gone "$STAND_IN" "what a set-uid program has executed"
    gone "$log" "the log of a set-uid program"
    rmdir "$scratch/mounted"
fi

# With the command itself; and below a program that forbids supervisors.
install -m 755 "${tmpshim:?TMPSHIM_BIN}" "$scratch/whole/tmpshim"
succeeds gcc gcc -static -O1 -Wall -Wextra -Werror -o "$scratch/unsupervised" "$sources/unsupervised.c"
rm -f "$STAND_IN"

for built in "$go" "$scratch/pie" "$scratch/internal"; do
    succeeds "$built under its command" under whole "$built" tmpfile "$directory"
    equal "$built under its command" fine "$(cat "$scratch/out" "$scratch/err")"
    if [ -e "$log" ] && grep go-program "$log"; then
        fail "$built was out of reach all the same"
    fi
    assert_empty "after $built under its command"
done
succeeds "a child of a C program" under whole sh -c '"$@" && echo and the shell' - "$go" tmpfile "$directory"
equal "a child of a C program" "fine and the shell" "$(tr '\n' ' ' <"$scratch/out" | sed 's/ $//')"
control "a child, TMPSHIM_REEXEC=off" under whole env TMPSHIM_REEXEC=off "$go" tmpfile "$directory"

for number in 0 3 255; do
    run under whole "$go" exit "$number"
    equal "exit $number under its command" "$number" "$status"
done
for signal in TERM INT HUP KILL; do
    equal "ended by $signal under its command" "signal $(kill -l $signal)" \
        "$(chain=$scratch/whole/libtmpshim.so end_of $signal "$go" wait)"
done

# Already watched over: nothing is started again. Not to be watched over: started again once, and on.
succeeds "below tmpshim run" under whole timeout 60 "$scratch/whole/tmpshim" run -- "$go" tmpfile "$directory"
control "where there can be no supervisor" under whole timeout 60 "$scratch/unsupervised" "$go" tmpfile "$directory"
goes_on "where there can be no supervisor" 125

# What an exec keeps, the command keeps as well, but for the order of the environment and what is its own in that.
for name in "$go" "an odd  name" "" -login; do
    by_itself=$(everything whole "$name" TMPSHIM_REEXEC=off | grep -v '"TMPSHIM_' | sort)
    under_command=$(everything whole "$name" | grep -v '"TMPSHIM_' | sort)
    [ "$by_itself" = "$under_command" ] ||
        fail "called '$name', not the same under the command: $(diff <(echo "$by_itself") <(echo "$under_command") | head -c 2000)"
done

finish
