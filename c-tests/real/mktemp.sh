#!/usr/bin/env bash
# Programs that exist to hand a directory over: mktemp of coreutils and of busybox, under whatever name. What they make stays
# (D8), and what mktemp makes without -d too.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# shellcheck source=debian.sh
. "$(dirname -- "$0")/debian.sh"
need mktemp

keeps() { # WHAT COMMAND...
    local what=$1 made
    shift
    succeeds "$what" with "$@"
    equal "stderr of $what" "" "$(cat "$scratch/err")"
    made=$(cat "$scratch/out")
    [ -d "$made" ] || fail "the directory that $what made must stay: $(seen)"
    equal "mode of the directory that $what made" 700 "$(stat -c %a "$made")"
    # Still there when the next program of ours has come and gone.
    with true
    [ -d "$made" ] || fail "a later program removed the directory that $what made"
    rmdir "$made"
}
keeps "mktemp -d" mktemp -d made.XXXXXX
keeps "mktemp -d -p" mktemp -d -p "$directory"
keeps "mktemp -d --suffix" mktemp -d --suffix=.x made.XXXXXX
ln -s "$(command -v mktemp)" "$scratch/gmktemp"
keeps "mktemp under another name" "$scratch/gmktemp" -d made.XXXXXX
keeps "mktemp -d in a shell's substitution" sh -c 'd=$(mktemp -d made.XXXXXX) && test -d "$d" && echo "$d"'
keeps "mktemp -d with TMPDIR" env TMPDIR="$directory" mktemp -d
same "mktemp" sh -ec 'f=$(mktemp made.XXXXXX); test -f "$f"; rm "$f"; mktemp -d /nowhere/made.XXXXXX || mktemp -d made.XX'
same "mktemp -u" sh -ec 'test ! -e "$(mktemp -d -u made.XXXXXX)"'

# busybox calls libc's mkdtemp. Debian's busybox-static is out of a preload's reach; the dynamic package is fetched.
busybox=
if file -L "$(command -v busybox 2>/dev/null || echo /dev/null)" 2>/dev/null | grep -q 'dynamically linked'; then
    busybox=$(command -v busybox)
elif command -v busybox >/dev/null; then
    keeps "static busybox mktemp -d" busybox mktemp -d made.XXXXXX
fi
if [ -z "$busybox" ] && [ -n "$(debian_uri)" ]; then
    . /etc/os-release
    # In a subshell: without a mirror this part is left out, not the whole test.
    if (release_root "${VERSION_CODENAME:-stable}" busybox) >"$scratch/out"; then
        root=$cache/${VERSION_CODENAME:-stable}
        busybox=$root/bin/busybox
    else
        echo "no dynamic busybox: $(cat "$scratch/out")" >&2
    fi
fi
if [ -n "$busybox" ]; then
    keeps "busybox mktemp -d" "$busybox" mktemp -d made.XXXXXX
    ln -s "$busybox" "$scratch/mktemp"
    keeps "busybox's mktemp -d" "$scratch/mktemp" -d made.XXXXXX
    keeps "busybox sh, mktemp -d" "$busybox" sh -c 'd=$(mktemp -d made.XXXXXX); echo "$d"'
    same "busybox" "$busybox" sh -c 'mktemp -d /nowhere/x.XXXXXX; ls -la /proc/self/fd | wc -l; echo done'
fi
finish
