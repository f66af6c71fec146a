# shellcheck shell=bash
# The Debian package in a whole Debian: made by debootstrap, configured, and i386 beside amd64. Sourced after common.sh.
# shellcheck disable=SC2154 # of common.sh
# shellcheck source=debian.sh
. "$(dirname -- "$0")/debian.sh"
repository=$(realpath -- "$(dirname -- "$0")/../..")

# configured SUITE: sets $pristine to the release as debootstrap makes it, with libc6:i386, a 32-bit program (hello) and
# libc6-i386's files in /opt. One process fetches, the others wait for it.
configured() {
    local lock uri
    pristine=$cache/configured-$1
    uri=$(debian_uri)
    mkdir -p "$cache" || skip "cannot make $cache"
    exec {lock}>"$pristine.lock"
    flock -w 500 "$lock" || skip "another test is still fetching $1"
    if [ ! -e "$pristine/.complete" ]; then
        [ -n "$uri" ] || skip "no Debian mirror in this machine's apt sources"
        [ -r "$debian_keyring" ] || skip "no $debian_keyring"
        rm -rf "$pristine"
        timeout 400 debootstrap --variant=minbase --keyring="$debian_keyring" "$1" "$pristine" "$uri" >"$scratch/debootstrap" 2>&1 ||
            skip "cannot make a Debian $1: $(tail -n 1 "$scratch/debootstrap")"
        root=$pristine
        # shellcheck disable=SC2016 # for the shell inside
        inside bash -euc '
            dpkg --add-architecture i386
            apt-get update -q=2 -o APT::Update::Error-Mode=any -o APT::Sandbox::User=root
            apt-get install -q=2 --yes --no-install-recommends libc6:i386
            cd /opt
            apt-get download -q=2 -o APT::Sandbox::User=root hello:i386 libc6-i386
            dpkg-deb -x hello_*.deb hello
            dpkg-deb -x libc6-i386_*.deb multilib
            rm ./*.deb
            apt-get clean
        ' >"$scratch/debootstrap" 2>&1 || skip "cannot fetch libc6:i386 of Debian $1: $(tail -n 1 "$scratch/debootstrap")"
        touch "$pristine/.complete"
    fi
    exec {lock}>&-
}

# inside COMMAND...: in $root, in a mount namespace of its own, so that no mount can be left behind: /under-test is the directory
# under test, /packages the packages, and /dev/shm and /run are the root's own. $upper: what is changed goes there.
inside() {
    unshare --mount --propagation private -- bash -euc '
        root=$1 directory=$2 packages=$3 upper=$4
        shift 4
        if [ -n "$upper" ]; then
            mkdir -p "$upper/changed" "$upper/work" "$upper/root"
            mount -t overlay overlay -o "lowerdir=$root,upperdir=$upper/changed,workdir=$upper/work" "$upper/root"
            root=$upper/root
            mkdir -p "$root/under-test" "$root/packages"
            mount --bind "$directory" "$root/under-test"
            mount --bind "$packages" "$root/packages"
        fi
        mount -t proc proc "$root/proc"
        mount --bind /dev "$root/dev"
        mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
        mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
        exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
    ' bash "$root" "$directory" "$scratch" "${upper-}" "$@"
}

# everything: each file of the root, its kind, mode, owner, size and target. What dpkg and ldconfig write about themselves is
# left out, and what is mounted.
everything() {
    inside find / -xdev \( -path /proc -o -path /dev -o -path /tmp -o -path /under-test -o -path /packages -o -path /var/lib/dpkg \
        -o -path /var/log -o -path /var/cache/ldconfig -o -path /etc/ld.so.cache \) -prune -o -type d -printf '%p %M %u:%g\n' \
        -o -printf '%p %M %u:%g %s %l\n' | sort
}

# quiet WHAT COMMAND...: it succeeds inside and writes nothing to standard error; its stdout is left in $scratch/out.
quiet() {
    local what=$1
    shift
    run inside "$@"
    [ "$status" = 0 ] || fail "$what must succeed; $(seen)"
    equal "stderr of $what" "" "$(cat "$scratch/err")"
}

# shellcheck disable=SC2016 # the loader's $LIB
anywhere='LD_PRELOAD=/usr/$LIB/libtmpshim.so'
triplet=x86_64-linux-gnu
hello=/opt/hello/usr/bin/hello

check_installed() { # SUITE
    local version deb
    need_root "debootstrap, chroot"
    need debootstrap dpkg-deb dh gcc go
    [ "$(uname -m)" = x86_64 ] || skip "the packages are for x86-64"
    upper=
    configured "$1"
    root=$pristine
    upper=$scratch/upper
    SOURCE_DATE_EPOCH=1700000000 "$repository/scripts/dist" --command "$tmpshim" --output "$scratch/packages" deb >"$scratch/dist" 2>&1 ||
        fail "scripts/dist: $(cat "$scratch/dist")"
    version=$("$tmpshim" --version | sed 's/.* //')
    deb=/packages/packages/tmpshim_${version}_amd64.deb
    cp "$(dirname -- "$0")/tmpfile.pl" "$scratch/tmpfile.pl"
    inside true 2>"$scratch/err" || skip "no overlay filesystem in a mount namespace here: $(cat "$scratch/err")"
    everything >"$scratch/before"

    [ "$native" = yes ] || refused "perl of $1 without the package" "ot supported" inside perl /packages/tmpfile.pl /under-test
    succeeds "dpkg -i on $1" inside dpkg -i "$deb"
    equal "stderr of dpkg -i on $1" "" "$(cat "$scratch/err")"
    succeeds "dpkg -i of the same version again" inside dpkg -i "$deb"
    check_files "$version"
    check_preload
    check_32_bit
    check_run
    check_musl
    check_go "$1"
    check_sweep
    succeeds "dpkg -V" inside dpkg -V tmpshim
    equal "what dpkg -V says after all this" "" "$(cat "$scratch/out")"

    succeeds "dpkg --purge on $1" inside dpkg --purge tmpshim
    everything >"$scratch/after"
    diff "$scratch/before" "$scratch/after" >"$scratch/diff" || fail "dpkg --purge leaves something: $(cat "$scratch/diff")"
}

check_files() { # VERSION
    local file
    quiet "tmpshim --version" tmpshim --version
    equal "the version" "tmpshim $1" "$(cat "$scratch/out")"
    for file in man/man1/tmpshim.1.gz man/man7/libtmpshim.7.gz bash-completion/completions/tmpshim zsh/vendor-completions/_tmpshim \
        fish/vendor_completions.d/tmpshim.fish doc/tmpshim/{copyright,changelog.gz,README.Debian,examples/tmpshim.conf}; do
        quiet "$file" test -s "/usr/share/$file"
    done
    quiet "the manual page" sh -c 'zcat /usr/share/man/man1/tmpshim.1.gz'
    "$tmpshim" man | cmp -s - "$scratch/out" || fail "the packed manual page must be that of tmpshim man"
    # shellcheck disable=SC2016 # for the shell inside
    quiet "bash completion" bash -c '. /usr/share/bash-completion/completions/tmpshim
        COMP_WORDS=(tmpshim sw) COMP_CWORD=1 && _tmpshim_program tmpshim sw tmpshim && echo "${COMPREPLY[@]}"'
    equal "tmpshim sw<TAB>" sweep "$(cat "$scratch/out")"
    quiet "the library in the package" cat /usr/lib/$triplet/libtmpshim.so
    cmp -s "$scratch/out" "$library" || fail "the packed library must be the one inside the command"
    quiet "the timer" test -L /etc/systemd/system/timers.target.wants/tmpshim-sweep.timer
    quiet "the example" grep -qxF "Environment=$anywhere" /usr/share/doc/tmpshim/examples/tmpshim.conf
}

check_preload() {
    local preload
    for preload in "$anywhere" LD_PRELOAD=libtmpshim.so LD_PRELOAD=/usr/lib/$triplet/libtmpshim.so; do
        quiet "perl with $preload" env "$preload" perl /packages/tmpfile.pl /under-test
        equal "perl with $preload" fine "$(cat "$scratch/out")"
        assert_empty "after perl with $preload"
    done
    chmod 1777 "$directory"
    quiet "perl of another user" setpriv --reuid 65534 --regid 65534 --clear-groups env "$anywhere" perl /packages/tmpfile.pl /under-test
    assert_empty "after perl of another user"
}

# Programs of the other word size, and the loader that another package brings for them, which takes $LIB for lib32.
check_32_bit() {
    local loader
    refused "hello with the 64-bit path, the control" "wrong ELF class" inside sh -c \
        "LD_PRELOAD=/usr/lib/$triplet/libtmpshim.so $hello >&2; exit 1"
    quiet "hello by itself" $hello
    for how in "$anywhere" LD_PRELOAD=libtmpshim.so; do
        quiet "hello with $how" env "$how" $hello
        quiet "hello as a child, with $how" env "$how" sh -c "perl -e 'system(\"$hello\")'; cat /proc/self/maps"
        equal "hello as a child, with $how" "Hello, world!" "$(head -n 1 "$scratch/out")"
        grep -q "/usr/lib/$triplet/libtmpshim.so" "$scratch/out" || fail "the parent must have the library, with $how; $(seen)"
    done
    quiet "hello as a child of tmpshim run" tmpshim run -- sh -c "$hello; cat /proc/self/maps"
    quiet "hello under tmpshim run" tmpshim run -- $hello
    # Debian 11 calls it ld-2.31.so.
    loader=$(cd "$pristine" && find opt/multilib -path '*lib32/ld-*.so*' -type f)
    quiet "hello by libc6-i386's loader" env "$anywhere" "/$loader" --library-path "/${loader%/*}" $hello
    # shellcheck disable=SC2016 # for the shell inside
    refused "the same without a library in lib32, the control" "cannot be preloaded" inside sh -c \
        "mv /usr/lib32/libtmpshim.so /usr/lib32/away; env '$anywhere' '/$loader' --library-path '/${loader%/*}' $hello >&2
         mv /usr/lib32/away /usr/lib32/libtmpshim.so; exit 1"
}

# The command takes the installed library, and writes none.
check_run() {
    quiet "perl under tmpshim run" tmpshim run -- perl /packages/tmpfile.pl /under-test
    equal "perl under tmpshim run" fine "$(cat "$scratch/out")"
    assert_empty "after perl under tmpshim run"
    # shellcheck disable=SC2016 # for the shell inside
    quiet "what is preloaded" tmpshim run --engine preload -- sh -c 'echo "$LD_PRELOAD"; cat /proc/self/maps; ls /run'
    equal "LD_PRELOAD" "${anywhere#*=}" "$(head -n 1 "$scratch/out")"
    grep -q "/usr/lib/$triplet/libtmpshim.so" "$scratch/out" || fail "the installed library must be loaded; $(seen)"
    grep -q tmpshim-run- "$scratch/out" && fail "no other library may be written; $(seen)"
    # Another version beside it: the command takes its own.
    # shellcheck disable=SC2016 # for the shell inside
    quiet "another version of the library" sh -c "cp -p /usr/lib/$triplet/libtmpshim.so /run/kept
        printf x >>/usr/lib/$triplet/libtmpshim.so
        tmpshim run --engine preload -- printenv LD_PRELOAD
        mv /run/kept /usr/lib/$triplet/libtmpshim.so"
    grep -q '^/run/tmpshim-run-' "$scratch/out" || fail "a library of another version must not be used; $(seen)"
    quiet "what is left in /run" sh -c 'ls -A /run | grep tmpshim-run- || true'
    equal "left in /run" "" "$(cat "$scratch/out")"
}

# musl takes $LIB as it stands and passes over what is not there without a word; the command gives it a path without.
check_musl() {
    need musl-gcc
    [ -x /lib/ld-musl-x86_64.so.1 ] || skip "musl's ld.so is not at /lib/ld-musl-x86_64.so.1"
    install -m 755 /lib/ld-musl-x86_64.so.1 "$scratch/"
    musl-gcc -O1 -Wl,--dynamic-linker=/packages/ld-musl-x86_64.so.1 -o "$scratch/probe" "$(dirname -- "$(realpath -- "$0")")/probe.c" -pthread
    [ "$native" = yes ] || refused "a musl program, \$LIB" "ot supported" inside env "$anywhere" sh -c 'cd /under-test && /packages/probe return'
    ! grep -F LIB "$scratch/err" || fail "musl must not complain about \$LIB; $(seen)"
    rm -rf published made.*
    for how in "env LD_PRELOAD=/usr/lib/$triplet/libtmpshim.so" "tmpshim run --engine preload --"; do
        quiet "a musl program, $how" sh -c "cd /under-test && $how /packages/probe return"
        rm -f published
        assert_empty "after a musl program, $how"
    done
}

# T9: the link beside the library. On Debian 11 no program starts that this machine's Go has linked to its libc.
check_go() { # SUITE
    local sources program
    sources=$(dirname -- "$(realpath -- "$0")")
    gcc -O1 -Wall -Wextra -Werror -nostartfiles -nostdlib -Wl,--no-as-needed -o "$scratch/note" "$sources/go_note.c" -lc
    CGO_ENABLED=1 go build -o "$scratch/cgo" "$sources/go.go" >"$scratch/build" 2>&1 || fail "cannot build go.go: $(cat "$scratch/build")"
    for program in "/packages/note /under-test" "/packages/cgo tmpfile /under-test"; do
        [ "$1 ${program%% *}" != "bullseye /packages/cgo" ] || continue
        # shellcheck disable=SC2086 # words are wanted
        set -- "$1" $program
        [ "$native" = yes ] || refused "$program by itself" "ot supported" inside "${@:2}"
        [ "$native" = yes ] || refused "$program, not started again" "ot supported" inside env "$anywhere" TMPSHIM_REEXEC=off "${@:2}"
        quiet "$program" env "$anywhere" "${@:2}"
        equal "$program" fine "$(cat "$scratch/out")"
        assert_empty "after $program"
    done
}

# The timer's service, with no more rights than its unit gives it: root's and another user's left-overs go.
check_sweep() {
    local unit=/usr/lib/systemd/system/tmpshim-sweep.service command bounding
    [ -e "$upper/changed/$unit" ] || unit=/lib/systemd/system/tmpshim-sweep.service
    inside cat $unit >"$scratch/unit"
    command=$(sed -n 's/^ExecStart=//p' "$scratch/unit")
    # setpriv's words for systemd's.
    bounding=-all,$(sed -n 's/^CapabilityBoundingSet=//p' "$scratch/unit" | tr 'A-Z ' 'a-z,' | sed 's/cap_/+/g')
    chmod 1777 "$directory"
    # shellcheck disable=SC2016 # for perl and the shell inside
    quiet "what the timer starts" sh -c '
        victim='\''mkdir "/under-test/made-$>" or die; open(my $f, ">", "/under-test/made-$>/file") or die; kill KILL => $$'\''
        for user in 0 65534; do
            # The shell says "Killed".
            setpriv --reuid $user --regid $user --clear-groups env "$1" TMPSHIM_TRACK="made-*" perl -e "$victim" 2>/tmp/said || true
        done
        ls /under-test
        setpriv --bounding-set "$2" --no-new-privs $3
        ls -A /under-test' sh "$anywhere" "$bounding" "$command"
    sed -n 1,2p "$scratch/out" >"$scratch/made"
    equal "left by two killed programs; $(seen)" "made-0 made-65534" "$(tr '\n' ' ' <"$scratch/made" | sed 's/ $//')"
    assert_empty "after the sweep; $(seen)"
}
