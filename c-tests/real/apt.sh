#!/usr/bin/env bash
# apt-get update with its state, cache and temporary files on the filesystem: apt makes its temporary files with O_TMPFILE
# where it can (GetTempFile, the gpgv method's) and falls back by itself. T1, T3.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# shellcheck source=debian.sh
. "$(dirname -- "$0")/debian.sh"
need apt-get gpgv
need_root "apt's methods expect it"

# One small suite of the machine's own mirror.
. /etc/os-release
source_line "${VERSION_CODENAME:-stable}-updates" >"$scratch/sources.list"

update() {
    mkdir -p state/lists/partial cache/archives/partial tmp
    # apt's own helpers run as another user if they can, which a FUSE mount for one user does not suffer.
    TMPDIR=$directory/tmp apt-get update -q=2 -c "$scratch/apt.conf" -o Dir::Etc::SourceList="$scratch/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State="$directory/state" -o Dir::Cache="$directory/cache" -o APT::Sandbox::User=root \
        -o Acquire::Retries=2 -o Acquire::Languages=none -o APT::Update::Error-Mode=any
}
for how in without with; do
    rm -rf state cache tmp
    run $how update
    if [ $how = without ] && [ "$status" != 0 ]; then
        rm -rf state cache tmp
        skip "apt-get update fails without the library: $(tail -n 1 "$scratch/err")"
    fi
    [ "$status" = 0 ] || fail "apt-get update works only without the library: $(seen)"
    sed -i '/^W: Download is performed unsandboxed/d' "$scratch/err"
    mv "$scratch/err" "$scratch/err.$how"
    (cd state/lists && find . -type f ! -name lock -exec sha256sum {} + | sort -k 2) >"$scratch/lists.$how"
    grep -q InRelease "$scratch/lists.$how" || fail "apt-get update $how the library brought no release file"
    equal "what apt-get leaves in TMPDIR, $how the library" "" "$(ls -A tmp)"
    assert_nothing_hidden "after apt-get update"
done
cmp -s "$scratch/lists.without" "$scratch/lists.with" ||
    fail "apt-get update brings other lists under the library: $(diff "$scratch/lists.without" "$scratch/lists.with" | head)"
cmp -s "$scratch/err.without" "$scratch/err.with" ||
    fail "apt-get update says something else under the library: $(diff "$scratch/err.without" "$scratch/err.with" | head)"

# What has been fetched is readable by the next program.
same "apt-cache policy" apt-cache policy -o Dir::Etc::SourceList="$scratch/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State="$directory/state" -o Dir::Cache="$directory/cache"
rm -rf state cache tmp
finish
