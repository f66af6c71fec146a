#!/usr/bin/env bash
# CRIU of Debian trixie, the newest release that has it: ended by a signal while apparmor_parser compiles a policy, it leaves
# .criu.temp-aa-policy.* in its work directory. And dumping and restoring, also of a container, whose root CRIU mounts below
# a directory that it made with mkdtemp: that must work as before. D1 to D7.
#
# No AppArmor is needed: CRIU believes in one that consists of files. Everything happens in a PID namespace, for a restored
# process wants its old number, and in a mount namespace whose root is trixie; a chroot would confuse what CRIU makes of the
# mounts.
if [ -z "${IN_NAMESPACES-}" ] && [ "$(id -u)" = 0 ] && unshare --mount --pid --fork --mount-proc true 2>/dev/null; then
    # All that is made below lies in here: in there it is a mount point, which cannot be removed from inside.
    outside=$(mktemp -d "${TMPDIR:-/tmp}/tmpshim-real.XXXXXX")
    trap 'rm -rf -- "$outside"' EXIT
    chmod 755 "$outside"
    IN_NAMESPACES=$outside TMPDIR=$outside \
        unshare --mount --propagation private --pid --fork --kill-child --mount-proc -- "$0" "$@"
    exit
fi
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# shellcheck source=debian.sh
. "$(dirname -- "$0")/debian.sh"
need_root "CRIU stops other processes and needs a root of its own"
[ -n "${IN_NAMESPACES-}" ] || skip "no new PID and mount namespace can be had here"
[ -d /proc/self/attr ] || skip "this kernel has no /proc/PID/attr, where CRIU looks for AppArmor"
need apt-get dpkg-deb mount pivot_root
release_root trixie criu bash coreutils dash diffutils findutils grep libc-bin mount perl-base sed util-linux

# From here on the programs are trixie's. What this script knows by its path keeps the path.
enter() {
    local new=$scratch/root path
    mkdir "$new"
    mount -t tmpfs -o mode=755 tmpfs "$new"
    mkdir "$new"/{dev,etc,old,proc,run,tmp,usr}
    for path in bin sbin lib lib64; do
        ln -s "usr/$path" "$new/$path"
    done
    mount --bind "$root/usr" "$new/usr"
    mount -o remount,bind,ro "$new/usr"
    mount -t proc proc "$new/proc"
    : >"$new/dev/null"
    mount --bind /dev/null "$new/dev/null"
    for path in "$IN_NAMESPACES" "$directory"; do
        mkdir -p "$new$path"
        mount --bind "$path" "$new$path"
    done
    install -m 755 "$library" "$new/libtmpshim.so"
    library=/libtmpshim.so
    install -m 755 "${tmpshim:?TMPSHIM_BIN}" "$new/tmpshim"
    tmpshim=/tmpshim
    cd "$new"
    pivot_root . old
    cd /
    hash -r
    export PATH=$scratch/bin:/usr/sbin:/usr/bin TMPDIR=/tmp
    umount --lazy /old
    cd "$directory"
}
enter
work=$directory/work
mkdir "$work" "$scratch/bin"
# A container's root. In it is what nobody wants to lose.
container=$IN_NAMESPACES/container
mkdir -p "$container"/{usr,proc,dev,old,precious}
for name in bin lib lib64; do
    ln -s "usr/$name" "$container/$name"
done
: >"$container/dev/null"
echo precious >"$container/precious/file"
# CRIU wants a mount as the root to restore.
mount --bind "$container" "$container"

# What must never be touched: beside the work directory, and in it under a name such as CRIU's own.
canary=$directory/canary
mkdir -p "$canary/below" "$work/.criu.temp-aa-policy.canary"
echo sings >"$canary/file"
echo sings >"$canary/below/file"
echo sings >"$work/.criu.temp-aa-policy.canary/P"
canaries() {
    find "$canary" "$work/.criu.temp-aa-policy.canary" "$container" ! -name numbers \
        \( -type f -printf '%p %m %T@ ' -exec cat {} \; -o -printf '%p %m\n' \) | sort
}
mounts() {
    sed -E 's/^([^ ]+ ){4}([^ ]+) .* - ([^ ]+) .*/\2 \3/' /proc/self/mountinfo
}

# Two processes, with a pipe between them. A SIGUSR1 to the first makes the second write the next number into a file: that
# both live, what they remember and what they have open can be seen there.
cat >"$scratch/target.pl" <<'PERL'
use strict; use POSIX ();
POSIX::close($_) for 3 .. 255;
pipe(my $out, my $in) or die;
if (!(fork() // die)) {
    close $in;
    open(my $numbers, ">>", $ARGV[0]) or die;
    while (sysread($out, my $text, 100)) { syswrite($numbers, $text) }
    exit;
}
close $out;
# Let in only where it waits: Perl runs handlers between its own steps, and would sleep on one that came just before.
my ($number, $asked, $none) = (0, POSIX::SigSet->new(POSIX::SIGUSR1), POSIX::SigSet->new());
POSIX::sigprocmask(POSIX::SIG_BLOCK, $asked);
$SIG{USR1} = sub { $number++; syswrite($in, "$number\n") };
syswrite($in, "ready\n");
POSIX::sigsuspend($none) while 1;
PERL

last_number() {
    [ "$(tail -n 1 "$numbers" 2>/dev/null)" = "$1" ]
}
no_process() {
    ! kill -0 "$1" 2>/dev/null
}
cat >"$scratch/container.sh" <<'SH'
set -e
mount --bind /usr usr
mount -t proc proc proc
mount --bind /dev/null dev/null
pivot_root . old
cd /
umount --lazy /old
exec perl /target.pl /numbers </dev/null >/dev/null 2>&1
SH
cp "$scratch/target.pl" "$container/target.pl"

start_target() { # plain|container
    numbers=$scratch/numbers dump_options=() restore_options=()
    # In a session of its own, for a terminal would have to be dumped as well.
    if [ "$1" = plain ]; then
        rm -f "$numbers"
        setsid perl "$scratch/target.pl" "$numbers" </dev/null >/dev/null 2>&1 &
    else
        numbers=$container/numbers
        dump_options=(--external 'mnt[/usr]:usr' --external 'mnt[/dev/null]:null')
        restore_options=(--external 'mnt[usr]:/usr' --external 'mnt[null]:/dev/null' --root "$container")
        rm -f "$numbers"
        (cd "$container" && exec setsid unshare --mount --propagation private sh "$scratch/container.sh") &
    fi
    target=$!
    children+=("$target")
    until_true 10 "the target is ready" last_number ready
    second=$(cat "/proc/$target/task/$target/children")
    second=${second% }
    number=0
}
end_target() {
    kill "$target"
    until_true 10 "the target has ended" no_process "$target"
    until_true 10 "the target's child has ended" no_process "$second"
}
target_answers() {
    number=$((number + 1))
    kill -USR1 "$target" || fail "$1: the target is gone"
    until_true 10 "the target answers, $1" last_number $number
}

# What CRIU left in its work directory.
policies() {
    find "$work" -mindepth 1 -maxdepth 1 -name '.criu.temp-aa-policy.*' ! -name '*.canary' -printf '%f\n'
}
# Nothing may be left in the work directory but CRIU's own files, nor anywhere else, unless a JOURNAL is to be expected.
nothing_left() { # WHEN [JOURNAL]
    equal "directories in the work directory $1" "" "$(find "$work" -mindepth 1 -type d ! -path '*.canary' -printf '%f ')"
    equal "names of ours $1" "" "$(find "$directory" -name '.tmpshim-*' -printf '%P ')"
    [ -n "${2-}" ] || equal "the state directory $1" "" "$(left_after_release "$TMPSHIM_STATE_DIR")"
    equal "/tmp of trixie $1" "" "$(find /tmp -mindepth 1 -maxdepth 1 -name '.*' -printf '%p ')"
    equal "mounts $1" "$mounts_before" "$(mounts)"
    equal "the canaries $1" "$canaries_before" "$(canaries)"
}
last_words() {
    tail -n 3 "$work/log" 2>/dev/null
}
criu_does() { # HOW COMMAND [OPTION...]
    # What it has found out about the kernel it keeps; finding out takes directories, and the next one shall make its own.
    rm -f /run/criu.kdat
    run "$1" criu "$2" --images-dir "$scratch/images" --work-dir "$work" --log-file log "${@:3}"
}

# A dump and a restore. CRIU forks past libc, waits for any child, and ends by mapping another program over itself.
canaries_before=$(canaries)
mounts_before=$(mounts)
for kind in plain container; do
    for how in without with; do
        start_target $kind
        target_answers "before the dump"
        mkdir "$scratch/images"
        criu_does $how dump --tree "$target" "${dump_options[@]}"
        if [ "$kind $how" = "plain without" ] && [ "$status" != 0 ]; then
            skip "CRIU cannot dump on this machine: $(last_words)"
        fi
        [ "$status" = 0 ] || fail "$kind: criu dump must succeed $how the library; $(seen) $(last_words)"
        until_true 10 "the target that was dumped $how the library is gone" no_process "$target"
        until_true 10 "the target's child is gone" no_process "$second"
        nothing_left "after a dump $how the library, $kind"

        criu_does $how restore --restore-detached "${restore_options[@]}"
        if [ "$kind $how" = "plain without" ] && [ "$status" != 0 ]; then
            skip "CRIU cannot restore on this machine: $(last_words)"
        fi
        [ "$status" = 0 ] || fail "$kind: criu restore must succeed $how the library; $(seen) $(last_words)"
        target_answers "restored $how the library"
        for process in "$target" "$second"; do
            if grep tmpshim.so "/proc/$process/maps" || find "/proc/$process/fd" -lname "$TMPSHIM_STATE_DIR*" | grep .; then
                fail "process $process, restored $how the library, has something of it"
            fi
        done
        # CRIU's first child makes a directory in the container's mount namespace and removes it; then it turns into the
        # container's first process, without an exec. So its journal is that of a process that lives.
        if [ "$kind $how" = "container with" ]; then journal=yes; else journal=; fi
        nothing_left "after a restore $how the library, $kind" $journal
        end_target
        if [ -n "$journal" ]; then
            sweep
            nothing_left "after the end of what was restored"
        fi
        rm -r "$scratch/images"
    done
done

# AppArmor as CRIU sees it: a namespace with one profile, and processes that are in it.
apparmor=/sys/kernel/security/apparmor
mkdir -p $apparmor/features/domain $apparmor/policy/namespaces/NS/{namespaces,profiles/P.1}
echo yes >$apparmor/features/domain/stack
echo 1.2 >$apparmor/features/domain/version
echo P >$apparmor/policy/namespaces/NS/profiles/P.1/name
echo policy >$apparmor/policy/namespaces/NS/profiles/P.1/raw_data
: >$apparmor/policy/namespaces/NS/.replace
# CRIU keeps what it has found out about the kernel, and now it is another one.
rm -f /run/criu.kdat
start_target plain
for process in "$target" "$second"; do
    mount -t tmpfs tmpfs "/proc/$process/attr"
    mkdir "/proc/$process/attr/apparmor"
    echo ':NS://P (enforce)' | tee "/proc/$process/attr/current" >"/proc/$process/attr/apparmor/current"
done
# It is asked for the name of its cache, and then to compile. Compiling, it makes what it likes in CRIU's directory. If it is
# to be slow, it says so on CRIU's stdout, for its own is a pipe to CRIU.
cat >"$scratch/bin/sweep-by-name" <<SWEEP
#!/bin/sh
exec $tmpshim sweep --match '.criu.temp-aa-policy.*' --contents --older-than 0s --yes "$work"
SWEEP
cat >"$scratch/bin/apparmor_parser" <<PARSER
#!/bin/sh
case \$1 in
    --cache-loc) echo cached ;;
    -QWL)
        mkdir -p "\$2/cached" && ln -s "$canary" "\$2/link" || exit 1
        if [ -e "$scratch/slow" ]; then
            if [ -e "$scratch/meanwhile" ]; then
                sweep-by-name >"$scratch/meanwhile" 2>&1 || echo "exit \$?" >>"$scratch/meanwhile"
            fi
            echo \$\$ >/proc/\$PPID/fd/1
            exec sleep 1000
        fi
        echo compiled >"\$2/cached/\${3##*/}" ;;
    *) exit 1 ;;
esac
PARSER
chmod 755 "$scratch"/bin/*
mounts_before=$(mounts)

# CRIU to its end: it removes the directory itself.
for how in without with; do
    mkdir "$scratch/images"
    : >$apparmor/policy/namespaces/NS/.replace
    criu_does $how dump --tree "$target" --leave-running
    [ "$status" = 0 ] || fail "criu dump with AppArmor must succeed $how the library; $(seen) $(last_words)"
    equal "the policy that CRIU loaded" compiled "$(cat $apparmor/policy/namespaces/NS/.replace)"
    target_answers "dumped with AppArmor $how the library"
    nothing_left "after a dump with AppArmor $how the library"
    rm -r "$scratch/images"
done

# cut_short HOW SIGNAL: a dump that is ended while the policy is compiled. A "-" before the signal's name sends it to the
# parser as well, as a terminal does.
cut_short() {
    local prefix=(setsid) ending parser name=${2#-}
    [ "$1" = with ] || prefix+=(env -u LD_PRELOAD)
    rm -rf "$scratch/images" "$scratch/first"
    mkdir "$scratch/images"
    ending=$(end_of "$2" "${prefix[@]}" criu dump --images-dir "$scratch/images" --work-dir "$work" --log-file log --tree "$target")
    [ -s "$scratch/first" ] || fail "CRIU $1 the library has started no apparmor_parser: $ending; $(last_words)"
    equal "the end of criu $1 the library by SIG$name" "signal $(kill -l "$name")" "$ending"
    parser=$(cat "$scratch/first")
    kill -KILL "$parser" 2>/dev/null || true
    until_true 10 "apparmor_parser has ended" no_process "$parser"
    target_answers "after the end of criu $1 the library by SIG$name"
}
: >"$scratch/slow"

# The program as it is: one directory each, and the policy in it.
count=0
for signal in TERM INT HUP KILL -INT; do
    cut_short without $signal
    count=$((count + 1))
    equal "directories that CRIU has left without the library" $count "$(policies | wc -l)"
done
for name in $(policies); do
    grep -q '^profile P' "$work/$name/P" || fail "$name without the library must hold the policy"
done

# They go by their name. What a living criu works in stays, and so does what has such a name where somebody looks around.
(cd "$work/.criu.temp-aa-policy.canary" && exec sleep 1000) &
looks=$!
children+=("$looks")
is_there() {
    [ "$(readlink "/proc/$looks/cwd")" = "$work/.criu.temp-aa-policy.canary" ]
}
until_true 10 "somebody looks around" is_there
swept_below() { # HOW REMOVED
    : >"$scratch/meanwhile"
    cut_short "$1" KILL
    equal "the sweep while criu lives $1 the library" "removed: $2; skipped: 2" "$(tail -n 1 "$scratch/meanwhile")"
    mv "$scratch/meanwhile" "$scratch/said"
    equal "directories after a sweep while criu lived $1 the library" 1 "$(policies | wc -l)"
    grep -q '^profile P' "$work/$(policies)/P" || fail "what a living criu works in must hold the policy"
}
swept_below without "5 directories"
sweep-by-name >"$scratch/swept" 2>&1 || fail "tmpshim sweep --match: $(cat "$scratch/swept")"
nothing_left "before the library's turn"
# With the library its journal says so, too, and what it leaves is the ordinary sweep's.
swept_below with "0 directories"
grep -q "a journal names it" "$scratch/said" || fail "a journal must have kept it: $(cat "$scratch/said")"
sweep
kill "$looks"
nothing_left "after a sweep while criu lived"

for signal in TERM INT HUP -INT; do
    cut_short with $signal
    nothing_left "after the end of criu with the library by ${signal/#/SIG}"
done

# Of SIGKILL no process learns. What it leaves goes with the next criu that makes a directory, or by tmpshim sweep.
killed() {
    cut_short with KILL
    equal "directories that a killed criu has left" 1 "$(policies | wc -l)"
    grep -q '^profile P' "$work/$(policies)/P" || fail "what a killed criu leaves must hold the policy"
}
killed
cut_short with TERM
nothing_left "after the next criu"
killed
sweep
nothing_left "after tmpshim sweep"
end_target

# A restore that is killed once it has mounted the container's root below its directory, in the mount namespace of a process
# that it has forked and that lives on. Nothing of that may be removed or unmounted from outside.
rm -r /sys "$scratch/images"
start_target container
mounts_before=$(mounts)
mkdir "$scratch/images"
criu_does without dump --tree "$target" "${dump_options[@]}"
[ "$status" = 0 ] || fail "criu dump must succeed; $(seen) $(last_words)"
cat >"$scratch/action" <<'SH'
#!/bin/sh
[ "$CRTOOLS_SCRIPT_ACTION" = post-setup-namespaces ] || exit 0
echo $$ >/proc/$PPID/fd/1
exec sleep 1000
SH
chmod 755 "$scratch/action"
roots() {
    find /tmp -mindepth 1 -maxdepth 1 -name '.criu.mntns.*'
}
for how in without with; do
    prefix=()
    [ $how = with ] || prefix=(env -u LD_PRELOAD)
    rm -f "$scratch/first" /run/criu.kdat
    ending=$(end_of KILL "${prefix[@]}" criu restore --images-dir "$scratch/images" --work-dir "$work" --log-file log \
        --restore-detached "${restore_options[@]}" --action-script "$scratch/action")
    [ -s "$scratch/first" ] || fail "criu restore $how the library has run no script: $ending; $(last_words)"
    action=$(cat "$scratch/first")
    kill -KILL "$action"
    until_true 10 "CRIU's script has ended" no_process "$action"
    equal "directories that a killed restore has left $how the library" 1 "$(roots | wc -l)"
    mounts_inside=$(cat "/proc/$target/mountinfo") || fail "the process that a killed restore forked must live"
    grep -q " $(roots)" <<<"$mounts_inside" || fail "nothing is mounted below $(roots): $mounts_inside"
    if [ $how = with ]; then
        sweep
        exists "$(roots)" "a directory that a forked process uses"
        equal "mounts in the forked process" "$mounts_inside" "$(cat "/proc/$target/mountinfo")"
    fi
    equal "the canaries after a killed restore" "$canaries_before" "$(canaries)"
    kill -KILL "$target"
    until_true 10 "the process that a killed restore forked has ended" no_process "$target"
    if [ $how = without ]; then
        rmdir "$(roots)" || fail "what a killed restore leaves must be an empty directory"
    else
        sweep
    fi
    nothing_left "after a killed restore $how the library"
done

nobody_else() {
    set -- /proc/[0-9]*
    [ $# = 1 ]
}
until_true 10 "no process is left" nobody_else
rm -r "$canary" "$work"
finish
