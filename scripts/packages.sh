# shellcheck shell=bash
# Debian packages, fetched and unpacked and never installed. Sourced. apt has lists and a cache of its own, so that nothing of
# the machine is changed; the mirror is the one in the machine's own sources. $say is the name that stands before messages.

fail() {
    printf '%s: %s\n' "${say:?}" "$*" >&2
    exit 1
}

# Everything that is fetched and can be fetched again.
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/tmpshim
mkdir -p "$cache"

# packages_of RELEASE: what follows is asked of that release, and of its security updates; "own" is the machine's own.
packages_of() {
    packages=$cache/apt/$1
    mkdir -p "$packages/lists/partial" "$packages/archives/partial" "$packages/parts"
    : >"$packages/status"
    apt=(-q=2 -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 -o APT::Install-Recommends=false -o APT::Sandbox::User=root
        -o Acquire::Languages=none -o Acquire::Retries=2 -o Acquire::Check-Valid-Until=false
        -o Dir::State::Lists="$packages/lists" -o Dir::State::Status="$packages/status" -o Dir::Cache="$packages")
    if [ "$1" != own ]; then
        local uris uri
        # shellcheck disable=SC2016 # apt's own
        uris=$(apt-get indextargets --format '$(REPO_URI)' | grep -E '/debian/?$' | sort -u | head -n 1)
        [ -n "$uris" ] || fail "no Debian mirror in this machine's apt sources"
        uri=${uris%/}
        for line in "$uri $1" "$uri-security $1-security"; do
            echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $line main"
        done >"$packages/sources.list"
        apt+=(-o Dir::Etc::SourceList="$packages/sources.list" -o Dir::Etc::SourceParts="$packages/parts")
    fi
    # A day's lists will do.
    if [ -z "$(find "$packages/stamp" -mmin -1440 2>/dev/null)" ]; then
        apt-get "${apt[@]}" update >"$packages/log" 2>&1 || fail "apt-get update ($1): $(tail -n 3 "$packages/log")"
        touch "$packages/stamp"
    fi
}

# packages_newest PACKAGE: the version that would be installed.
packages_newest() {
    apt-cache "${apt[@]}" policy "$1" | sed -n 's/^  Candidate: \([^(]*\)$/\1/p'
}

# packages_needed PACKAGE PATTERN: the first package like that on which it depends.
packages_needed() {
    apt-cache "${apt[@]}" depends "$1" | sed -n "s/^ *Depends: \($2\)\$/\1/p" | head -n 1
}

# packages_unpack DIRECTORY PACKAGE...: just these. packages_unpack_all: and all that they depend on.
packages_unpack() {
    local debs
    debs=$(mktemp -d "$packages/debs.XXXXXX")
    (cd "$debs" && apt-get "${apt[@]}" download "${@:2}") >"$packages/log" 2>&1 ||
        fail "apt-get download ${*:2}: $(tail -n 3 "$packages/log")"
    packages_extract "$1" "$debs"
    rmdir "$debs"
}

packages_unpack_all() {
    rm -f "$packages"/archives/*.deb
    apt-get "${apt[@]}" install --yes --download-only "${@:2}" >"$packages/log" 2>&1 ||
        fail "apt-get install --download-only ${*:2}: $(tail -n 3 "$packages/log")"
    packages_extract "$1" "$packages/archives"
}

packages_extract() {
    local package
    rm -rf "$1" "$1.new"
    mkdir -p "$1.new"
    for package in "$2"/*.deb; do
        dpkg-deb --extract "$package" "$1.new"
        rm "$package"
    done
    mv "$1.new" "$1"
}
