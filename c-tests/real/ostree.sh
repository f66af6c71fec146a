#!/usr/bin/env bash
# ostree: every object is made with O_TMPFILE and published with linkat of /proc/self/fd, with modes, owners and, in a
# bare-user repository, extended attributes set on the descriptor before. T3, T7.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
need ostree
export HOME=$scratch

tree=$scratch/tree
mkdir -p "$tree/usr/bin" "$tree/etc/empty"
printf '#!/bin/sh\necho hello\n' >"$tree/usr/bin/hello"
chmod 755 "$tree/usr/bin/hello"
ln -s hello "$tree/usr/bin/link"
head -c 3000000 /dev/urandom >"$tree/usr/large"
: >"$tree/etc/nothing"
chmod 600 "$tree/etc/nothing"
for ((n = 0; n < 100; n++)); do
    echo "setting $n" >"$tree/etc/setting-$n"
done
listing() {
    (cd "$1" && find . -mindepth 1 -printf '%y %m %p %l\n' | sort && find . -type f -exec sha256sum {} + | sort)
}
listing "$tree" >"$scratch/expected"

for mode in archive bare-user bare-user-only; do
    for how in without with; do
        run $how ostree init --repo=repo --mode=$mode
        commit=
        if [ "$status" = 0 ]; then
            run $how ostree commit --repo=repo --branch=main --subject=test --timestamp=@1000000000 \
                --owner-uid="$(id -u)" --owner-gid="$(id -g)" --no-xattrs "$tree"
            commit=$(cat "$scratch/out")
        fi
        if [ "$status" != 0 ]; then
            [ $how = with ] || { bare_commit=none; rm -rf repo; continue; }
            [ "$bare_commit" = none ] || fail "ostree commit into $mode works only without the library: $(seen)"
            rm -rf repo
            continue
        fi
        if [ $how = without ]; then
            bare_commit=$commit
        else
            equal "commit into $mode" "$bare_commit" "$commit"
        fi
        succeeds "ostree fsck of $mode, made $how the library" $how ostree fsck --quiet --repo=repo
        succeeds "ostree fsck of $mode from outside" without ostree fsck --quiet --repo=repo
        succeeds "ostree checkout from $mode, $how the library" $how ostree checkout --repo=repo -U main out
        listing out >"$scratch/checked_out"
        cmp -s "$scratch/expected" "$scratch/checked_out" ||
            fail "the checkout from $mode $how the library differs: $(diff "$scratch/expected" "$scratch/checked_out" | head)"
        find repo -type f -printf '%m %P\n' | grep -v -e '/\.lock$' -e ' \.lock$' | sort >"$scratch/repo.$how"
        assert_nothing_hidden "after ostree commit into $mode, $how the library"
        if [ $how = with ]; then
            cmp -s "$scratch/repo.without" "$scratch/repo.with" ||
                fail "the $mode repository differs: $(diff "$scratch/repo.without" "$scratch/repo.with" | head)"
        fi
        chmod -R u+w out && rm -rf out repo
    done
done
[ "$bare_commit" != none ] || fail "ostree could not commit at all, with or without the library"
finish
