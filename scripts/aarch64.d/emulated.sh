#!/usr/bin/env bash
# Runs COMMAND where the kernel starts AArch64 programs, by qemu-user: in a user and a mount namespace of its own, for
# which alone the emulator is registered (Linux 6.7), so that the machine is as before. All users are in it, and whoever is
# root stays root.
# usage: emulated.sh COMMAND [ARGUMENT...]
set -eu
if [ "${1-}" = --inside ]; then
    shift
    # The namespace's users are there once the other side says so.
    read -r _ <&"$GO"
    exec {GO}<&-
    unset GO
    # It holds as long as it is mounted.
    point=/proc/sys/fs/binfmt_misc
    if ! mount -t binfmt_misc binfmt_misc $point; then
        echo "aarch64: no binfmt_misc of one's own: that takes Linux 6.7 with CONFIG_BINFMT_MISC, this is $(uname -r)" >&2
        exit 77
    fi
    # F: the emulator is opened now. P: programs see their own argv[0]. O, C: and their own set-user-id bits.
    printf '%s' ':aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:'"$EMULATOR"':POCF' >$point/register
    unset EMULATOR
    exec "$@"
fi

EMULATOR=$(command -v qemu-aarch64-static) || {
    echo 'aarch64: qemu-aarch64-static is missing: install the package qemu-user-static, or run scripts/setup' >&2
    exit 1
}
export EMULATOR
# Where the loader and libc are; every aarch64 program that is dynamic needs it.
export QEMU_LD_PREFIX=${QEMU_LD_PREFIX:-/usr/aarch64-linux-gnu}
pipe=$(mktemp -u)
mkfifo -m 600 "$pipe"
exec {GO}<>"$pipe"
rm "$pipe"
export GO
unshare --user --mount --propagation private -- "$0" --inside "$@" &
child=$!
trap 'kill $child 2>/dev/null || true' INT TERM
own=$(readlink /proc/self/ns/user)
deadline=$((SECONDS + 30))
until other=$(readlink "/proc/$child/ns/user") && [ "$other" != "$own" ]; do
    if [ "$SECONDS" -gt "$deadline" ] || ! kill -0 $child 2>/dev/null; then
        echo 'aarch64: no user namespace: unshare(1) says why' >&2
        exit 77
    fi
done 2>/dev/null
for map in uid_map gid_map; do
    awk '{ print $1, $1, $3 }' /proc/self/$map >"/proc/$child/$map"
done
echo go >&"$GO"
exec {GO}<&-
status=0
wait $child || status=$?
exit "$status"
