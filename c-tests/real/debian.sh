# shellcheck shell=bash
# Programs of other Debian releases, from the mirror that this machine uses. Sourced after common.sh, which sets $cache.
# What is fetched stays in $cache, so that only the first run needs the network.
# shellcheck disable=SC2154 # of common.sh

# debian_uri: the Debian archive of the machine's own sources, and nothing where there is none.
debian_uri() {
    {
        cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
            sed -nE 's/^deb +(\[[^]]*\] *)?([a-z]+:[^ ]+) .*/\2/p'
        cat /etc/apt/sources.list.d/*.sources 2>/dev/null | sed -nE 's/^URIs:[[:space:]]*([^[:space:]]+).*/\1/p'
    } | grep -E '/debian/?$' | head -n 1
}

debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

source_line() { # SUITE
    local uri
    uri=$(debian_uri)
    [ -n "$uri" ] || skip "no Debian mirror in this machine's apt sources"
    [ -r $debian_keyring ] || skip "no $debian_keyring"
    printf 'deb [signed-by=%s] %s %s main\n' $debian_keyring "$uri" "$1"
}

# The machine's own apt settings count, for they know the way out, but none of its hooks may run.
cat >"$scratch/apt.conf" <<'CONF'
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
CONF

# release_root SUITE[-NAME] PACKAGE...: sets $root to a directory with these packages and all that they depend on unpacked,
# not configured. One process fetches, the others wait for it. Each set of packages has a NAME of its own.
release_root() {
    local suite=${1%%-*} lock work
    root=$cache/$1
    shift
    mkdir -p "$cache" || skip "cannot make $cache"
    exec {lock}>"$root.lock"
    flock -w 280 "$lock" || skip "another test is still fetching $suite"
    if [ "$(cat "$root/.packages" 2>/dev/null)" != "$*" ]; then
        rm -rf "$root" "$root.new"
        work=$root.new
        mkdir -p "$work/.apt/state/lists/partial" "$work/.apt/cache/archives/partial"
        : >"$work/.apt/status"
        source_line "$suite" >"$work/.apt/sources.list"
        local options=(-q=2 -c "$scratch/apt.conf" -o Dir::Etc::SourceList="$work/.apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
            -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
            -o Dir::State="$work/.apt/state" -o Dir::State::Status="$work/.apt/status" -o Dir::Cache="$work/.apt/cache"
            -o APT::Sandbox::User=root -o APT::Install-Recommends=false -o Acquire::Languages=none -o Acquire::Retries=2
            -o Acquire::Check-Valid-Until=false -o Debug::NoLocking=true
            -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
        apt-get update "${options[@]}" -o APT::Update::Error-Mode=any >"$scratch/apt" 2>&1 ||
            skip "cannot fetch Debian $suite: $(tail -n 1 "$scratch/apt")"
        apt-get install --yes --download-only "${options[@]}" "$@" >"$scratch/apt" 2>&1 ||
            skip "cannot fetch $* of Debian $suite: $(tail -n 1 "$scratch/apt")"
        local directory_name package
        for directory_name in bin sbin lib lib64; do
            mkdir -p "$work/usr/$directory_name"
            ln -s "usr/$directory_name" "$work/$directory_name"
        done
        for package in "$work"/.apt/cache/archives/*.deb; do
            dpkg-deb --fsys-tarfile "$package" | tar -C "$work" --keep-directory-symlink -xf -
        done
        mkdir -p "$work/proc" "$work/dev" "$work/tmp" "$work/var/tmp" "$work/under-test"
        # A file to bind the library on.
        : >"$work/libtmpshim.so"
        rm -rf "$work/.apt"
        printf '%s\n' "$*" >"$work/.packages"
        mv "$work" "$root"
    fi
    exec {lock}>&-
}

# in_root COMMAND...: in $root, with the directory under test at /under-test and the library at /libtmpshim.so, in a mount
# namespace of its own, so that no mount can be left behind. PRELOAD in the environment is the LD_PRELOAD inside, and SHARED a
# directory that is to be /tmp/shared; then there is a /var/tmp as well.
in_root() {
    unshare --mount --propagation private -- bash -euc '
        root=$1 directory=$2 library=$3
        shift 3
        mount --bind "$directory" "$root/under-test"
        mount --bind "$library" "$root/libtmpshim.so"
        mount -t proc proc "$root/proc"
        mount --bind /dev "$root/dev"
        mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
        mkdir -m 700 "$root/tmp/state"
        if [ -n "${SHARED-}" ]; then
            mkdir "$root/tmp/shared"
            mount --bind "$SHARED" "$root/tmp/shared"
            mount --rbind "$root/tmp" "$root/var/tmp"
        fi
        exec chroot "$root" /usr/bin/env -i PATH=/usr/bin:/bin TMPSHIM_STATE_DIR=/tmp/state \
            ${PRELOAD:+LD_PRELOAD=$PRELOAD} sh -c "cd /under-test && exec \"\$@\"" sh "$@"
    ' bash "$root" "$directory" "$library" "$@"
}
