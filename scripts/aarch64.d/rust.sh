#!/usr/bin/env bash
# Makes DIRECTORY/bin/rustc: a Rust compiler that has the standard libraries of x86-64 and of AArch64, both from Debian's
# packages. Does nothing where it is there.
# usage: rust.sh DIRECTORY
set -eu
export LC_ALL=C.UTF-8
cd "$(dirname "$0")/../.."
# shellcheck disable=SC2034 # for packages.sh
say=aarch64
# shellcheck source=scripts/packages.sh
. scripts/packages.sh
directory=${1:?the directory to put it in}
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

# at_least VERSION: it is what the workspace asks for.
at_least() {
    [ "$(printf '%s\n' "$wanted" "$1" | sort -V | head -n 1)" = "$wanted" ]
}
# usable RUSTC: it has both libraries, and is new enough.
usable() {
    local target
    at_least "$("$1" -vV 2>/dev/null | sed -n 's/^release: //p')" || return 1
    for target in x86_64 aarch64; do
        echo 'fn main() {}' | "$1" --target $target-unknown-linux-gnu --emit metadata -o "$directory/probe" - 2>/dev/null || return 1
    done
    rm -f "$directory/probe"
}
if usable "$directory/bin/rustc"; then
    exit
fi

packages_of own
# Debian 12 has two: the release's own, and a newer one for its browsers.
compiler=
for name in rustc-web rustc; do
    version=$(packages_newest "$name:amd64")
    if at_least "$version"; then
        compiler=$name
        break
    fi
done
[ -n "$compiler" ] || fail "no rustc of $wanted or later among this machine's apt packages. Debian 12's security updates have one: rustc-web"
library=libstd-${compiler/c/}-dev
code=$(packages_needed "$library:amd64" 'libstd-rust-.*')
llvm=$(packages_needed "$code:amd64" 'libllvm.*')
[ -n "${code:+$llvm}" ] || fail "what $compiler $version is made of cannot be told from apt-cache depends"
rm -rf "$directory"
packages_unpack "$directory/root" "$compiler:amd64" "$code:amd64" "$library:amd64" "$library:arm64" "$llvm:amd64"
mkdir "$directory/bin"
cat >"$directory/bin/rustc" <<EOF
#!/bin/sh
LD_LIBRARY_PATH=$directory/root/usr/lib/x86_64-linux-gnu exec $directory/root/usr/bin/rustc "\$@"
EOF
chmod +x "$directory/bin/rustc"
usable "$directory/bin/rustc" || fail "$compiler $version was unpacked below $directory and does not work: $("$directory/bin/rustc" -vV 2>&1 | tail -n 3)"
printf 'aarch64: %s, with the libraries of x86-64 and AArch64\n' "$("$directory/bin/rustc" --version)"
