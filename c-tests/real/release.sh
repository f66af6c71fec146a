# shellcheck shell=bash
# What is asked of the programs of another Debian release. Sourced after common.sh.
# shellcheck disable=SC2154 # of common.sh
# shellcheck source=debian.sh
. "$(dirname -- "$0")/debian.sh"

cat >"$scratch/tmpfile.pl" <<'PERL'
use strict; use Fcntl;
sysopen(my $f, ".", 020000000 | O_DIRECTORY | O_RDWR, 0600) or die "sysopen: $!\n";
syswrite($f, "text") == 4 or die "write: $!\n";
sysopen(my $again, "/proc/self/fd/" . fileno($f), O_RDONLY) or die "re-open: $!\n";
sysread($again, my $text, 10) == 4 or die "read: $!\n";
# syscall wants to write to its strings, and a number that is a number.
my ($nr, $from, $to) = ($ARGV[0] + 0, "/proc/self/fd/" . fileno($f), "published");
syscall($nr, -100, $from, -100, $to, 0x400) == 0 or die "linkat: $!\n";
syswrite($f, " and more");
print "fine\n";
PERL
case $(uname -m) in
    x86_64) linkat=265 triplet=x86_64-linux-gnu loader=ld-linux-x86-64.so.2 ;;
    aarch64) linkat=37 triplet=aarch64-linux-gnu loader=ld-linux-aarch64.so.1 ;;
    *) skip "not written for $(uname -m)" ;;
esac

published_well() { # WHERE
    equal "perl of $suite, $1" fine "$(cat "$scratch/out" "$scratch/err")"
    equal "what perl of $suite published, $1" "text and more" "$(cat published)"
    rm published
    assert_empty "after perl of $suite, $1"
}

# By the release's own ld.so, from outside. The libraries are $root's, so the library meets that glibc.
by_loader() {
    local preload=$1
    shift
    PERL5LIB=$(printf '%s:' "$root/usr/lib/$triplet/perl-base" "$root"/usr/lib/"$triplet"/perl5/* "$root/usr/share/perl5") \
        "$ld_so" ${preload:+--preload "$preload"} --library-path "$root/lib/$triplet:$root/usr/lib/$triplet" "$root/usr/bin/$1" "${@:2}"
}

check_release() { # SUITE
    local suite=$1 tool
    need apt-get dpkg-deb
    release_root "$suite" perl-base coreutils dash tar grep debianutils libc-bin gzip
    ld_so=$(readlink -e "$root/lib/$triplet/$loader") || fail "no ld.so in $root"
    # shellcheck disable=SC2034 # for the test of one release
    glibc_version=$("$ld_so" --library-path "$root/lib/$triplet" "$root/lib/$triplet/libc.so.6" | sed -nE '1s/.* ([0-9]+\.[0-9]+)\.?$/\1/p')

    control "perl of $suite by its ld.so" by_loader "" perl "$scratch/tmpfile.pl" "$linkat"
    rm -f published
    succeeds "perl of $suite by its ld.so" by_loader "$library" perl "$scratch/tmpfile.pl" "$linkat"
    published_well "by its ld.so"

    # Everyday programs of the release, most of them without libdl: they must start, and nobody may say a word.
    : >file
    for tool in "ls -l file" "cat file" "dash -c true" "tar cf /dev/null file" "grep -V" "gzip -V" "date +%Y" "sort file" "mktemp -u made.XXXXXX"; do
        # shellcheck disable=SC2086 # words are wanted
        set -- $tool
        run by_loader "$library" "$@"
        [ "$status" = 0 ] || fail "$1 of $suite must start under the library; $(seen)"
        equal "stderr of $1 of $suite" "" "$(cat "$scratch/err")"
    done
    # D8: handing a directory over is what it is for.
    run by_loader "$library" mktemp -d made.XXXXXX
    equal "mktemp -d of $suite, stderr" "" "$(cat "$scratch/err")"
    rmdir "$(cat "$scratch/out")" || fail "mktemp -d of $suite must keep its directory; $(seen)"

    # In the release itself, where there is nothing of ours but the library.
    if [ "$(id -u)" != 0 ] || ! unshare --mount true 2>/dev/null; then
        echo "not in a chroot: that takes root" >&2
    else
        cp "$scratch/tmpfile.pl" script.pl
        control "perl of $suite in a chroot" in_root perl script.pl "$linkat"
        rm -f published
        PRELOAD=/libtmpshim.so run in_root perl script.pl "$linkat"
        [ "$status" = 0 ] || fail "perl of $suite in a chroot must succeed; $(seen)"
        rm script.pl file
        published_well "in a chroot"
        : >file
        PRELOAD=/libtmpshim.so run in_root sh -ec 'ls -l file; cat file; tar cf /dev/null file; dash -c "d=\$(mktemp -d made.XXXXXX); rmdir \$d"; date +%Y; env true'
        [ "$status" = 0 ] || fail "programs of $suite in a chroot must start; $(seen)"
        equal "stderr of programs of $suite in a chroot" "" "$(cat "$scratch/err")"
    fi
    rm -f file
}
