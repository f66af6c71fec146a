# shellcheck shell=bash
# The installed tree, as every package has it. Sourced by scripts/dist.
# shellcheck disable=SC2154 # of scripts/dist

put() { # MODE FILE TARGET: makes the directories above as well
    install -D -m "$1" "$2" "$3"
}

# stage ROOT LIB64 LIB32 UNITS DOC README: LIB64 is where the library lies, below /usr, LIB32 one word or more for the empty
# ones of 32-bit programs, UNITS where systemd's units lie, DOC where documentation lies, README its name for this package.
stage() {
    local stage=$1 lib64=$2 lib32=$3 units=$4 doc=$5 readme=$6 directory name
    put 0755 "$tmpshim" "$stage/usr/bin/tmpshim"
    "$tmpshim" library --output "$work/libtmpshim.so"
    put 0644 "$work/libtmpshim.so" "$stage/usr/$lib64/libtmpshim.so"
    # Where the library looks for the command, to start Go programs again (T9).
    ln -s "$(realpath -m --relative-to="/usr/$lib64" /usr/bin/tmpshim)" "$stage/usr/$lib64/tmpshim"

    gcc -m32 -shared -nostdlib -Os -Wl,-soname,libtmpshim.so,--hash-style=both,--build-id=none,-z,noexecstack,-z,relro -s \
        -o "$work/empty32.so" scripts/dist.d/empty32.c || fail "gcc cannot make the empty 32-bit library: see its message above"
    for directory in $lib32; do
        put 0644 "$work/empty32.so" "$stage/usr/$directory/libtmpshim.so"
    done

    mkdir -p "$stage/usr/share/man/man1" "$stage/usr/share/man/man7" "$stage/usr/share/bash-completion/completions" \
        "$stage/usr/share/zsh/vendor-completions" "$stage/usr/share/fish/vendor_completions.d"
    "$tmpshim" man tmpshim >"$stage/usr/share/man/man1/tmpshim.1"
    "$tmpshim" man libtmpshim >"$stage/usr/share/man/man7/libtmpshim.7"
    "$tmpshim" completions bash >"$stage/usr/share/bash-completion/completions/tmpshim"
    "$tmpshim" completions zsh >"$stage/usr/share/zsh/vendor-completions/_tmpshim"
    "$tmpshim" completions fish >"$stage/usr/share/fish/vendor_completions.d/tmpshim.fish"

    for name in tmpshim-sweep.service tmpshim-sweep.timer; do
        put 0644 "deploy/systemd/$name" "$stage/$units/$name"
    done
    for name in README.md CHANGELOG.md; do
        put 0644 "$name" "$stage/$doc/$name"
    done
    find docs -type f -printf '%P\n' | while read -r name; do
        put 0644 "docs/$name" "$stage/$doc/docs/$name"
    done
    put 0644 "$work/THIRD-PARTY.txt" "$stage/$doc/THIRD-PARTY.txt"
    put 0644 scripts/dist.d/README.packaged "$stage/$doc/$readme"
    # Of the example to copy, with the paths of a package.
    put 0644 deploy/systemd/tmpshim.conf "$stage/$doc/examples/tmpshim.conf"
    # shellcheck disable=SC2016 # the loader's $LIB
    sed -i 's|/usr/local/lib/|/usr/$LIB/|; s|/usr/local/bin/|/usr/bin/|' "$stage/$doc/examples/tmpshim.conf"
    sed -i "s|@LIB64@|/usr/$lib64|; s|@LIB32@|/usr/${lib32%% *}/libtmpshim.so|" "$stage/$doc/$readme"
}
