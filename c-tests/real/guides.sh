#!/usr/bin/env bash
# The guides, as a reader follows them: every transcript of README.md and docs is run as it is written, one shell a page, on
# a /tmp without O_TMPFILE, and must print what the page shows (guides.py). The reader's machine is this one's root
# directory under an overlay, in a mount namespace of its own, so that nothing of it is changed. D5, T1.
# GUIDES names the pages, where not all are wanted.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
need_root "a machine of its own is made of mounts"
need unshare pivot_root runuser proot systemd-tmpfiles tmpreaper jq
need_python
[ $native = no ] || fail "the guides are about a /tmp without O_TMPFILE"
beside=$(dirname -- "$(realpath -- "$0")")
repository=$(realpath -- "$beside/../..")
"$python" -c 'import tomllib' 2>/dev/null || skip "needs Python 3.11 or newer"

# Nothing may be written beside the scripts.
export PYTHONDONTWRITEBYTECODE=1
# The control: what is wrong with a page is found, each with its line.
mkdir -p "$scratch/wrong/c-tests/programs" "$scratch/wrong/c-tests/real"
printf '%s\n' '[a](b.md) [c](#d)' '`src/nowhere.rs` `d9_nothing`' '```sh' 'rm -r /' '```' >"$scratch/wrong/README.md"
printf '%s\n' '[[not_run]]' 'page = "README.md"' 'begins = "nothing"' 'why = "x"' >"$scratch/wrong/list"
run "$python" "$beside/guides_check.py" "$scratch/wrong" "$scratch/wrong/list"
equal "what is wrong with a page; $(seen)" "README.md:1: README.md:1: README.md:2: README.md:2: README.md:3: guides.toml: " \
    "$(grep -oE '^[a-zA-Z.]+:([0-9]+:)? ' "$scratch/err" | tr -d '\n')"
"$python" "$beside/guides_check.py" "$repository" "$beside/guides.toml" || fail "the pages are not in order, see above"

# What the reader has after scripts/build, in the directory in which the shell starts.
mkdir -p "$scratch/reader/dist"
install -m 755 "$library" "$scratch/reader/dist/libtmpshim.so"
install -m 755 "${tmpshim:?TMPSHIM_BIN}" "$scratch/reader/dist/tmpshim"
cp -r "$repository/deploy" "$repository/docs" "$scratch/reader/"

# machine PAGE: a shell on the reader's machine, which takes commands from descriptor 3 (guides.py).
cat >"$scratch/machine" <<'END'
set -eu
scratch=$1 directory=$2 page=$3
root=$scratch/root
mkdir -p "$root"
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/new" "$root/reader"
cp -r "$scratch/reader/." "$root/reader"
mount -t overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" overlay "$root/new" 2>"$scratch/overlay" || exit 77
cd "$root/new"
mount --bind "$directory" tmp
chmod 1777 tmp
mount --rbind /proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs var/tmp
mount -t tmpfs -o mode=755 tmpfs srv
mkdir srv/tmpshim
cp -r "$root/reader/." srv/tmpshim
# Nor is it a container, whatever marks this one bears.
rm -f usr/local/bin/tmpshim usr/local/lib/libtmpshim.so etc/ld.so.preload .dockerenv
# Two pages begin with a machine that has no tmpshim; for the others it is installed.
case $page in
    README.md | docs/incident.md) ;;
    *) install -D -t usr/local/bin srv/tmpshim/dist/tmpshim && install -D -m 644 -t usr/local/lib srv/tmpshim/dist/libtmpshim.so ;;
esac
pivot_root . .
umount --lazy .
cd /srv/tmpshim
exec env -i HOME=/root USER=root LOGNAME=root LANG=C.UTF-8 TERM=dumb \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash --noprofile --norc -c '
    last=0
    while IFS= read -r -d "" command <&3; do
        (exit $last)
        eval "$command" 3<&-
        last=$?
        printf "\0%s\0" $last
    done'
END

# Whoever is left in the mount namespace of the page's shell.
left_inside() {
    find /proc -maxdepth 1 -name '[0-9]*' -printf '%f\n' 2>/dev/null | while read -r pid; do
        [ "$(readlink "/proc/$pid/ns/mnt" 2>/dev/null)" != "$1" ] || printf '%s (%s) ' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)"
    done
}

# try_page PAGE: the namespace's name is written down by the first process in it.
try_page() {
    "$python" "$beside/guides.py" run "$repository" "$1" unshare --mount --propagation private -- \
        bash -c 'readlink /proc/self/ns/mnt >"$1/namespace"; shift; exec "$@"' bash "$scratch" bash "$scratch/machine" "$scratch" "$directory" "$1"
}

# The control: a page that does not say what is printed is found out, with its line.
printf '%s\n' 'A page.' '```console' '$ echo one; echo two' '...' 'two' '$ echo "$((1 + 1)) is two"' '[..] is three' '```' >"$scratch/lies.md"
if try_page "$scratch/lies.md" 2>"$scratch/found"; then
    fail "a page that shows what is not printed must be found out"
fi
[ ! -s "$scratch/overlay" ] || skip "no overlay of the root directory: $(head -c 300 "$scratch/overlay")"
grep -q 'lies.md:6: does not print what the page shows' "$scratch/found" || fail "the line is not told: $(cat "$scratch/found")"

failed=
pages=${GUIDES:-$("$python" "$beside/guides.py" pages "$repository")}
[ "$(wc -w <<<"$pages")" -ge 1 ] || fail "no page has a transcript"
for page in $pages; do
    begun=$SECONDS
    try_page "$page" || failed="$failed $page"
    # A page may leave nobody behind.
    deadline=$((SECONDS + 10))
    while left=$(left_inside "$(cat "$scratch/namespace")") && [ -n "$left" ] && [ "$SECONDS" -le "$deadline" ]; do
        sleep 0.05
    done
    if [ -n "$left" ]; then
        failed="$failed $page"
        printf '%s: leaves processes: %s\n' "$page" "$left" >&2
        # Only numbers: each of them is in a mount namespace that nobody but this script has made.
        for pid in $(grep -oE '(^| )[0-9]+ \(' <<<"$left" | tr -dc '0-9\n'); do
            kill -KILL "$pid" 2>/dev/null || true
        done
    fi
    assert_nothing_hidden "after $page"
    find "$directory" -mindepth 1 -delete
    printf '%s: %s s\n' "$page" "$((SECONDS - begun))"
done
[ -z "$failed" ] || fail "not as they say:$failed"
finish
