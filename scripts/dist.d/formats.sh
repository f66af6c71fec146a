# shellcheck shell=bash
# The formats, a function each. Sourced by scripts/dist.
# shellcheck disable=SC2154 # of scripts/dist

make_deb() {
    local source=$work/deb/tmpshim name=tmpshim_${version}_amd64.deb built_using lib64=lib/x86_64-linux-gnu
    mkdir -p "$source"
    # 32-bit programs: i386 as a second architecture, and libc6-i386, which goes by another name.
    stage "$work/deb/stage" $lib64 "lib/i386-linux-gnu lib32" lib/systemd/system usr/share/doc/tmpshim README.Debian
    sed -i 's|@TIMER@|It is enabled, as is usual in Debian.|' "$work/deb/stage/usr/share/doc/tmpshim/README.Debian"
    cp -a scripts/dist.d/debian "$source/debian"
    # shellcheck disable=SC2016 # dpkg-query's own
    built_using=$(dpkg-query -W -f '${source:Package} (= ${source:Version})' libc6-dev) ||
        fail "libc6-dev is not installed here, and the command is linked with it"
    sed -i "s|@MAINTAINER@|$maintainer|; s|@BUILT_USING@|$built_using|" "$source/debian/control"
    fill_copyright "$source/debian/copyright"
    printf 'tmpshim (%s) unstable; urgency=medium\n\n  * Version %s, see /usr/share/doc/tmpshim/CHANGELOG.md.\n\n -- %s  %s\n' \
        "$version" "$version" "$maintainer" "$(date -R -d "@$SOURCE_DATE_EPOCH")" >"$source/debian/changelog"
    (cd "$source" && STAGE=$work/deb/stage debian/rules binary) >"$work/log" 2>&1 || {
        tail -n 30 "$work/log" >&2
        fail "debhelper failed, its last words are above"
    }
    install -m 0644 "$work/deb/$name" "$output/$name"
    made+=("$name")
}

# Puts the licence's text where @MIT@ stands: a blank in front of each line, a dot for an empty one.
fill_copyright() { # FILE
    local notice
    notice=$(sed -n 's/^Copyright (c) //p' LICENSE-MIT)
    sed '1,/^Copyright/d; 1,/^$/d' LICENSE-MIT | sed '/./,$!d; s/^$/./; s/^/ /' >"$work/mit"
    sed -i -e "s|@COPYRIGHT@|$notice|" -e "/^@MIT@\$/{r $work/mit" -e 'd}' "$1"
}

make_rpm() {
    local top=$work/rpm name=tmpshim-$version-1.x86_64.rpm doc=usr/share/doc/tmpshim
    mkdir -p "$top"
    stage "$top/stage" lib64 lib usr/lib/systemd/system $doc README.rpm
    sed -i 's|@TIMER@|Whether it is enabled is your presets'\'' affair; to enable it: systemctl enable --now tmpshim-sweep.timer|' "$top/stage/$doc/README.rpm"
    mkdir -p "$top/stage/usr/share/licenses/tmpshim" "$top/stage/usr/share/zsh/site-functions"
    install -m 0644 LICENSE-MIT LICENSE-APACHE "$work/THIRD-PARTY.txt" "$top/stage/usr/share/licenses/tmpshim/"
    rm "$top/stage/$doc/THIRD-PARTY.txt"
    # Where zsh looks on these distributions.
    mv "$top/stage/usr/share/zsh/vendor-completions/_tmpshim" "$top/stage/usr/share/zsh/site-functions/"
    rmdir "$top/stage/usr/share/zsh/vendor-completions"
    gzip -9n "$top/stage/usr/share/man/man1/tmpshim.1" "$top/stage/usr/share/man/man7/libtmpshim.7"
    # With no configuration but the package's own, so that a builder's ~/.rpmmacros changes nothing.
    HOME=$top rpmbuild -bb --quiet --target x86_64-linux --define "_topdir $top" --define "_tmppath $top" \
        --define "stage $top/stage" --define "upstream_version $version" --define "packager $maintainer" \
        scripts/dist.d/tmpshim.spec >"$work/log" 2>&1 || {
        tail -n 30 "$work/log" >&2
        fail "rpmbuild failed, its last words are above"
    }
    install -m 0644 "$top/RPMS/x86_64/$name" "$output/$name"
    made+=("$name")
}

make_tarball() {
    local name=tmpshim-$version-x86_64-linux
    mkdir -p "$work/tarball/$name"
    install -m 0755 "$tmpshim" "$work/tarball/$name/tmpshim"
    install -m 0644 README.md LICENSE-MIT LICENSE-APACHE "$work/THIRD-PARTY.txt" "$work/tarball/$name/"
    tar -C "$work/tarball" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --format=gnu -cf - "$name" |
        gzip -9n >"$output/$name.tar.gz"
    made+=("$name.tar.gz")
}
