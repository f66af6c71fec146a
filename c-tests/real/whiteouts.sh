#!/usr/bin/env bash
# A filesystem in which a directory that was made and removed leaves a trace: fuse-overlayfs 1.10 keeps a whiteout of each in
# its upper directory. A server that makes files for others all day must not fill it. T6.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
need_root "fuse-overlayfs is mounted"
need fuse-overlayfs perl unshare
mkdir "$scratch/lower" "$scratch/upper" "$scratch/work" "$scratch/merged"

# inside COMMAND...: where nobody else sees the mount, which goes with the command.
inside() {
    # shellcheck disable=SC2016 # for the inner shell
    unshare --mount sh -euc 'fuse-overlayfs -o "lowerdir=$0/lower,upperdir=$0/upper,workdir=$0/work" "$0/merged" 2>"$0/mounted"
        trap "cd /; umount \"$0/merged\"" EXIT
        cd "$0/merged" && umask 022 && "$@"' "$scratch" "$@"
}
traces() {
    find "$scratch/upper" -mindepth 1 | wc -l
}

# The control: one trace for each.
succeeds "mkdir and rmdir on fuse-overlayfs" inside sh -c 'for n in 1 2 3 4 5; do mkdir "d$n" && rmdir "d$n"; done'
[ "$(traces)" = 5 ] || skip "this fuse-overlayfs keeps $(traces) traces of 5 directories"

# shellcheck disable=SC2016 # perl's
many='use Fcntl; for (1..300) { sysopen(my $f, ".", 020000000 | O_DIRECTORY | O_RDWR, 0644) or die "sysopen: $!\n";
    (stat $f)[2] == 0100644 or die "mode\n"; }'
control "perl on fuse-overlayfs" inside perl -e "$many"
succeeds "300 files that others may open" inside env LD_PRELOAD="$library" perl -e "$many"
[ "$(traces)" -le 6 ] || fail "$(traces) traces of 300 files: $(find "$scratch/upper" | tail -n 3)"
succeeds "300 more, under the supervisor" inside "${tmpshim:?}" run --engine notify -- perl -e "$many"
# A thread of the supervisor's for each call that is under way.
[ "$(traces)" -le 12 ] || fail "$(traces) traces of 600 files: $(find "$scratch/upper" | tail -n 3)"
