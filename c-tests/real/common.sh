# shellcheck shell=bash
# What the tests on real programs share. Sourced first by each of them; it reads the environment that the harness gives,
# goes to the directory under test and promises an empty one at the end.
#
#   TMPSHIM_LIBRARY  absolute path of libtmpshim.so (required)
#   TMPSHIM_BIN      absolute path of tmpshim, for the scripts that sweep
#   TMPSHIM_FS       name of the filesystem that the directory is on; with it, the control is checked too
#   CELL_ENGINE   for the scripts that supervise: by which engine (default: notify)
#   $1               the directory under test (default: the current one), empty
#
# Exit status: 0 passed, 77 cannot run here (last line of stdout says why), anything else failed.
set -eu
export LC_ALL=C.UTF-8

program=${0##*/}
program=${program%.sh}
library=${TMPSHIM_LIBRARY:?the absolute path of libtmpshim.so}
filesystem=${TMPSHIM_FS:-}
# shellcheck disable=SC2034 # for supervised.sh
engine=${CELL_ENGINE:-notify}
tmpshim=${TMPSHIM_BIN:-}
# shellcheck disable=SC2034 # for debian.sh, which fetches into it
cache=${TMPSHIM_TEST_CACHE:-/var/cache/tmpshim-tests}

# The library names each TMPSHIM_ variable that it does not know on stderr: what the harness tells us is not for it.
for name in "${!TMPSHIM_@}"; do
    unset "$name"
done
unset LD_PRELOAD name

fail() {
    printf '%s: FAILED: %s\n' "$program" "$*" >&2
    exit 1
}

skip() {
    printf '%s\n' "$*"
    exit 77
}

# need COMMAND...: the programs under test, from scripts/setup.
need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || skip "$tool is not installed (scripts/setup installs it)"
    done
}

# Sets $python: the distribution's own, for a version manager's in PATH is a shell script.
need_python() {
    python=/usr/bin/python3
    if [ ! -x "$python" ]; then
        need python3
        python=$(command -v python3)
    fi
}

need_root() {
    [ "$(id -u)" = 0 ] || skip "needs root: $*"
}

[ -r "$library" ] || fail "no library at $library"
directory=$(realpath -- "${1:-.}")
cd -- "$directory"

# Everything that is not for the filesystem under test: outputs, logs, the library's own state.
scratch=$(mktemp -d "${TMPDIR:-/tmp}/tmpshim-real.XXXXXX")
chmod 755 "$scratch"
mkdir -m 700 "$scratch/state"
export TMPSHIM_STATE_DIR=$scratch/state
children=()

tidy() {
    local status=$? child
    for child in "${children[@]+"${children[@]}"}"; do
        kill -KILL "$child" 2>/dev/null || true
    done
    rm -rf -- "$scratch"
    exit "$status"
}
trap tidy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# without COMMAND...: the unmodified program. with COMMAND...: the same under the library.
without() {
    "$@"
}

with() {
    LD_PRELOAD=$library "$@"
}

# left_after_release DIRECTORY [TEST...]: what is left there, as find prints it. FUSE releases a closed file behind the
# program's back, so a name may stay for a moment after its last user.
left_after_release() {
    local deadline=$((SECONDS + 4)) left
    while left=$(find "$1" -mindepth 1 "${@:2}" -printf '%P ' 2>/dev/null) && [ -n "$left" ] && [ "$SECONDS" -le "$deadline" ]; do
        sleep 0.02
    done
    printf %s "$left"
}

# What comes after a program that could not clean up for itself (D5).
sweep() {
    "${tmpshim:?TMPSHIM_BIN}" sweep --state-dir "$scratch/state" >"$scratch/swept" 2>&1 || fail "tmpshim sweep: $(cat "$scratch/swept")"
}

assert_empty() {
    local left
    left=$(left_after_release "$directory")
    [ -z "$left" ] || fail "${1:-at the end}: $directory must be empty, it holds: $left"
}

# Nothing of ours, though the program's own files may still be there.
assert_nothing_hidden() {
    local left
    left=$(left_after_release "$directory" -name '.tmpshim-*')
    [ -z "$left" ] || fail "${1:-nothing of ours may be left}: $left"
}

finish() {
    local left
    cd -- "$directory"
    assert_empty
    left=$(left_after_release "$scratch/state")
    [ -z "$left" ] || fail "left in the state directory: $left"
    exit 0
}

equal() { # WHAT EXPECTED SEEN
    [ "$2" = "$3" ] || fail "$1: expected '$2', saw '$3'"
}

exists() {
    [ -e "$1" ] || fail "${2:-$1} must exist"
}

gone() {
    if [ -e "$1" ] || [ -L "$1" ]; then
        fail "${2:-$1} must be gone"
    fi
}

# run COMMAND...: stdout to $scratch/out, stderr to $scratch/err, the exit status to $status.
run() {
    status=0
    "$@" >"$scratch/out" 2>"$scratch/err" </dev/null || status=$?
}

seen() {
    printf 'status %s, stdout: %s, stderr: %s' "$status" "$(head -c 2000 "$scratch/out")" "$(head -c 2000 "$scratch/err")"
}

# succeeds WHAT COMMAND...: it must end with status 0; its stdout is left in $scratch/out.
succeeds() {
    local what=$1
    shift
    run "$@"
    [ "$status" = 0 ] || fail "$what must succeed; $(seen)"
}

# refused WHAT MESSAGE COMMAND...: it must fail and say MESSAGE.
refused() {
    local what=$1 message=$2
    shift 2
    run "$@"
    if [ "$status" = 0 ] || ! cat "$scratch/out" "$scratch/err" | grep -qF -- "$message"; then
        fail "$what must fail with '$message'; $(seen)"
    fi
}

# same WHAT COMMAND...: status, stdout and stderr must be those of the program without the library.
same() {
    local what=$1 bare_status
    shift
    run without "$@"
    bare_status=$status
    mv "$scratch/out" "$scratch/bare_out"
    mv "$scratch/err" "$scratch/bare_err"
    run with "$@"
    equal "$what: exit status" "$bare_status" "$status"
    cmp -s "$scratch/bare_out" "$scratch/out" ||
        fail "$what: stdout differs under the library: $(diff "$scratch/bare_out" "$scratch/out" | head -20)"
    cmp -s "$scratch/bare_err" "$scratch/err" ||
        fail "$what: stderr differs under the library: $(diff "$scratch/bare_err" "$scratch/err" | head -20)"
}

# until_true SECONDS WHAT COMMAND...: polls, never longer than SECONDS.
until_true() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ "$SECONDS" -le "$deadline" ] || fail "waited too long until $what"
        sleep 0.02
    done
}

# A library that the loader cannot load is only complained about and left out: everything below would test nothing.
with cat /proc/self/maps | grep -qF "$(basename -- "$library")" || fail "$library is not loaded by LD_PRELOAD"

# native: whether the filesystem has O_TMPFILE by itself. Asked with the most literal program there is, dd cannot.
has_tmpfile() {
    perl -e 'use Fcntl; sysopen(my $f, $ARGV[0], 020000000 | O_DIRECTORY | O_RDWR, 0600) or exit($!{EOPNOTSUPP} ? 1 : 2)' "$1"
}
native=yes
has_tmpfile "$directory" || native=no
case $filesystem in
    bindfs* | mergerfs | fuse-overlayfs)
        [ $native = no ] || fail "$filesystem has O_TMPFILE here: nothing would be shown by this test" ;;
    tmpfs | ext4)
        [ $native = yes ] || fail "$filesystem must have O_TMPFILE by itself" ;;
esac

# NAMES_STAY is set where a file that has no name cannot be used, so that ours keeps a hidden one while it is open, and with it
# no permissions for group and others (T6, T4).
export NAMES_STAY=
case $filesystem in
    mergerfs | bindfs-hard_remove) NAMES_STAY=1 ;;
esac

# control WHAT COMMAND...: where the filesystem has no O_TMPFILE, the unmodified program must fail and say so; where it
# has one, it must work. Without this the test shows nothing.
control() {
    local what=$1
    shift
    if [ $native = yes ]; then
        succeeds "$what without the library" without "$@"
    else
        # glibc says "Operation not supported", musl "Not supported".
        refused "$what without the library" "ot supported" without "$@"
    fi
}

# end_of SIGNAL COMMAND...: starts the command under the library, waits for the first line that it prints (left in
# $scratch/first), sends SIGNAL ("none": lets it run on) and prints how it ended: "exit N" or "signal N". $chain is the
# LD_PRELOAD, where that is more than the library.
end_of() {
    LIBRARY=${chain:-$library} FIRST=$scratch/first perl -e '
        use strict; use warnings; use POSIX ();
        my $signal = shift;
        pipe(my $out, my $in) or die;
        my $pid = fork() // die;
        if (!$pid) {
            $ENV{LD_PRELOAD} = delete $ENV{LIBRARY};
            delete $ENV{FIRST};
            POSIX::dup2(fileno($in), 1);
            exec(@ARGV) or POSIX::_exit(127);
        }
        close $in;
        $SIG{ALRM} = sub { kill KILL => $pid; print "nothing within 30 s\n"; exit 0 };
        alarm 30;
        my $line = <$out>;
        if (defined $line) {
            open(my $first, ">", $ENV{FIRST}) or die;
            print $first $line;
            close $first;
            kill $signal => $pid unless $signal eq "none";
        }
        waitpid($pid, 0);
        print $? & 127 ? "signal " . ($? & 127) : "exit " . ($? >> 8), "\n";
    ' -- "$@"
}
