#!/usr/bin/env bash
# What scripts/dist builds: the same bytes whenever and wherever, nothing that lintian objects to, units that systemd takes, an
# RPM that rpm installs and removes, and a tarball that works where it is unpacked.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
repository=$(realpath -- "$(dirname -- "$0")/../..")
need dh dpkg-deb lintian rpm rpmbuild systemd-analyze
[ "$(uname -m)" = x86_64 ] || skip "the packages are for x86-64"
version=$("$tmpshim" --version | sed 's/.* //')
deb=tmpshim_${version}_amd64.deb
rpm=tmpshim-$version-1.x86_64.rpm
tarball=tmpshim-$version-x86_64-linux

build() { # OUTPUT COMMAND...: packs by COMMAND, as of one date
    SOURCE_DATE_EPOCH=1700000000 "${@:2}" "$repository/scripts/dist" --command "$tmpshim" --output "$1" >"$scratch/log" 2>&1 ||
        fail "scripts/dist: $(cat "$scratch/log")"
}
build "$scratch/one" env
# Another umask, time zone, directory and clock.
build "$scratch/two" env TMPDIR="$scratch" TZ=Asia/Tokyo LC_ALL=C sh -c 'umask 077; exec "$0" "$@"'
(cd "$scratch/one" && sha256sum --check --quiet SHA256SUMS) || fail "SHA256SUMS must be right"
equal "what is built" "SHA256SUMS $rpm $tarball.tar.gz $deb" "$(cd "$scratch/one" && echo *)"
diff -r "$scratch/one" "$scratch/two" || fail "the packages must be the same when they are built again"

# As root it warns of itself, on stderr; what it finds is on stdout.
run lintian --fail-on error,warning --no-cfg "$scratch/one/$deb"
if [ "$status" != 0 ] || [ -s "$scratch/out" ]; then
    fail "lintian; $(seen)"
fi
dpkg-deb -x "$scratch/one/$deb" "$scratch/root"

# systemd looks for what is started; the manual page is not installed here.
units=$scratch/root/lib/systemd/system
sed -i "s|=/usr/bin/|=$scratch/root/usr/bin/|" "$units/tmpshim-sweep.service"
succeeds "systemd-analyze verify" systemd-analyze verify --man=no "$units/tmpshim-sweep.service" "$units/tmpshim-sweep.timer"
equal "what systemd-analyze says" "" "$(cat "$scratch/out" "$scratch/err")"
grep -E '^(Private|ReadOnly|ReadWrite|Inaccessible|TemporaryFileSystem|Bind|Root|ProtectSystem|ProtectHome|ProtectKernel|ProtectControl|ProtectProc|ProcSubset|MountFlags|MountAPIVFS)' \
    "$units/tmpshim-sweep.service" && fail "the sweep must have no mount namespace of its own"

# The RPM, in a root of its own with a database of its own. There is no shell in there for its scripts.
into=(--root "$scratch/rpmroot" --dbpath /var/lib/rpm --nodeps --noscripts)
mkdir -p "$scratch/rpmroot/var/lib/rpm"
succeeds "rpm -K" rpm -K "$scratch/one/$rpm"
succeeds "rpm -i" rpm "${into[@]}" -i "$scratch/one/$rpm"
# Debian's rpm says that it is not for Debian.
equal "stderr of rpm -i" "" "$(grep -v '^rpm: ' "$scratch/err")"
cmp -s "$scratch/rpmroot/usr/lib64/libtmpshim.so" "$library" || fail "the RPM's library must be the one inside the command"
equal "the link beside the library" "$scratch/rpmroot/usr/bin/tmpshim" "$(realpath "$scratch/rpmroot/usr/lib64/tmpshim")"
file -b "$scratch/rpmroot/usr/lib/libtmpshim.so" | grep -q '^ELF 32-bit LSB shared object, Intel 80386' || fail "no 32-bit library in the RPM"
# As its own command finds it: /usr below another prefix.
succeeds "tmpshim run of the RPM" "$scratch/rpmroot/usr/bin/tmpshim" run --engine preload -- printenv LD_PRELOAD
# shellcheck disable=SC2016 # the loader's $LIB
equal "LD_PRELOAD of the RPM" "$scratch/rpmroot/usr/"'$LIB/libtmpshim.so' "$(cat "$scratch/out")"
# What is to be typed is right for 32-bit children, too.
run "$scratch/rpmroot/usr/bin/tmpshim" doctor perl
grep -qF "LD_PRELOAD='$scratch/rpmroot/usr/\$LIB/libtmpshim.so' perl" "$scratch/out" || fail "doctor names the installed library; $(seen)"
for script in post preun postun; do
    succeeds "rpm's scripts" rpm -qp --qf "%{$script}" "$scratch/one/$rpm"
    sh -n "$scratch/out" || fail "%$script is no shell script: $(cat "$scratch/out")"
done
succeeds "rpm -V" rpm "${into[@]:0:4}" -V --nodeps tmpshim
succeeds "rpm -U of the same version" rpm "${into[@]}" -U --force "$scratch/one/$rpm"
succeeds "rpm -e" rpm "${into[@]}" -e tmpshim
equal "left by rpm -e" "" "$(find "$scratch/rpmroot" -path "$scratch/rpmroot/var/lib/rpm" -prune -o ! -type d -print)"

# The tarball: one directory, and in it a command that works.
tar -C "$scratch" -xzf "$scratch/one/$tarball.tar.gz"
equal "what the tarball has" "LICENSE-APACHE LICENSE-MIT README.md THIRD-PARTY.txt tmpshim" "$(cd "$scratch/$tarball" && echo *)"
control "perl by itself" perl "$(dirname -- "$(realpath -- "$0")")/tmpfile.pl" .
succeeds "perl under the tarball's command" "$scratch/$tarball/tmpshim" run -- perl "$(dirname -- "$(realpath -- "$0")")/tmpfile.pl" .
equal "perl under the tarball's command" fine "$(cat "$scratch/out")"
finish
