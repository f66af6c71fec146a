#!/usr/bin/env bash
# Makes DIRECTORY/bin/rustc: a Rust compiler that has the standard libraries of x86-64 and of AArch64, both from Debian's
# packages, unpacked there and not installed. Does nothing where it is there.
# usage: rust.sh DIRECTORY
# Asks the machine's own apt sources, with lists of its own, so that nothing of the machine is changed.
set -eu
export LC_ALL=C.UTF-8
directory=${1:?the directory to put it in}

fail() {
    printf 'aarch64: %s\n' "$*" >&2
    exit 1
}

wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../../Cargo.toml")
# usable RUSTC: it has both libraries, and is new enough.
usable() {
    local version target
    version=$("$1" -vV 2>/dev/null | sed -n 's/^release: //p')
    [ "$(printf '%s\n' "$wanted" "$version" | sort -V | head -n 1)" = "$wanted" ] || return 1
    for target in x86_64 aarch64; do
        echo 'fn main() {}' | "$1" --target $target-unknown-linux-gnu --emit metadata -o "$directory/probe" - 2>/dev/null || return 1
    done
    rm -f "$directory/probe"
}
if usable "$directory/bin/rustc"; then
    exit
fi

rm -rf "$directory"
mkdir -p "$directory/apt/lists/partial" "$directory/apt/archives/partial" "$directory/debs"
cd "$directory"
touch apt/status
apt=(-o APT::Architectures::=amd64 -o APT::Architectures::=arm64 -o Dir::State::Lists="$PWD/apt/lists" -o Dir::Cache="$PWD/apt"
    -o Dir::State::status="$PWD/apt/status" -o APT::Sandbox::User=root -q=2)
apt-get "${apt[@]}" update >apt/log 2>&1 || fail "apt-get update for arm64: $(tail -n 3 apt/log)"

# newest PACKAGE: the version that would be installed.
newest() {
    apt-cache "${apt[@]}" policy "$1" | sed -n 's/^  Candidate: \([^(]*\)$/\1/p'
}
# needs PACKAGE PATTERN: a package that it depends on.
needs() {
    apt-cache "${apt[@]}" depends "$1" | sed -n "s/^ *Depends: \($2\)\$/\1/p" | head -n 1
}
# Debian 12 gives two compilers: the release's own, and a newer one for its browsers.
compiler=
for name in rustc-web rustc; do
    version=$(newest "$name:amd64")
    if [ "$(printf '%s\n' "$wanted" "$version" | sort -V | head -n 1)" = "$wanted" ]; then
        compiler=$name
        break
    fi
done
[ -n "$compiler" ] || fail "no rustc of $wanted or later among the machine's apt packages; Debian 12's security updates have one: rustc-web"
library=libstd-${compiler/c/}-dev
code=$(needs "$library:amd64" 'libstd-rust-.*')
llvm=$(needs "$code:amd64" 'libllvm.*')
[ -n "$code" ] && [ -n "$llvm" ] || fail "what $compiler $version is made of cannot be told from apt-cache depends"
(cd debs && apt-get "${apt[@]}" download "$compiler:amd64" "$code:amd64" "$library:amd64" "$library:arm64" "$llvm:amd64") >apt/log 2>&1 ||
    fail "apt-get download of $compiler and its libraries: $(tail -n 3 apt/log)"
for package in debs/*.deb; do
    dpkg-deb --extract "$package" root
done
rm -rf debs apt
mkdir bin
cat >bin/rustc <<EOF
#!/bin/sh
LD_LIBRARY_PATH=$PWD/root/usr/lib/x86_64-linux-gnu exec $PWD/root/usr/bin/rustc "\$@"
EOF
chmod +x bin/rustc
usable "$PWD/bin/rustc" || fail "$compiler $version was unpacked below $PWD and does not work: $(bin/rustc -vV 2>&1 | tail -n 3)"
printf 'aarch64: %s, with the libraries of x86-64 and AArch64\n' "$(bin/rustc --version)"
