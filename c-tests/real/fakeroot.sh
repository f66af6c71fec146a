#!/usr/bin/env bash
# fakeroot and fakechroot, which interpose libc themselves: before and after our library in LD_PRELOAD. T8.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
need fakeroot
need_python

# What is asked: a chown that only fakeroot can show, on a named file and on one made with O_TMPFILE, before and after
# publishing it. FAKEROOTDONTTRYCHOWN: as root it would really chown.
export FAKEROOTDONTTRYCHOWN=1
cat >"$scratch/owner.py" <<'PYTHON'
import os
open("file", "w").close()
os.chown("file", 1234, 2345)
assert (os.stat("file").st_uid, os.stat("file").st_gid) == (1234, 2345), "fakeroot does not show the owner of a file"
os.mknod("device", 0o020600, os.makedev(1, 3))
assert os.stat("device").st_rdev == os.makedev(1, 3), "fakeroot does not show the device"
fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o644)
st = os.fstat(fd)
assert (st.st_uid, st.st_gid) == (0, 0), f"the owner of a new file is {st.st_uid}:{st.st_gid}"
os.fchown(fd, 1234, 2345)
os.write(fd, b"text")
assert os.fstat(fd).st_uid == 1234, "fakeroot does not show the owner of an O_TMPFILE file"
os.link(f"/proc/self/fd/{fd}", "published", src_dir_fd=os.open("/", os.O_RDONLY), follow_symlinks=True)
os.write(fd, b" and more")
assert open("published").read() == "text and more"
print("fine")
PYTHON

fakeroots() { # ORDER
    case $1 in
        fakeroot) fakeroot "$python" "$scratch/owner.py" ;;
        # What is in LD_PRELOAD before, fakeroot puts behind itself.
        fakeroot-first) LD_PRELOAD=$library fakeroot "$python" "$scratch/owner.py" ;;
        tmpshim-first) fakeroot sh -c 'LD_PRELOAD=$1:$LD_PRELOAD exec "$2" "$3"' sh "$library" "$python" "$scratch/owner.py" ;;
    esac
}
control "O_TMPFILE in fakeroot" fakeroots fakeroot
rm -f file device published
for order in fakeroot-first tmpshim-first; do
    succeeds "O_TMPFILE, $order" fakeroots $order
    equal "O_TMPFILE, $order" fine "$(cat "$scratch/out" "$scratch/err")"
    equal "real owner of the file, $order" "$(id -u)" "$(stat -c %u file)"
    equal "real owner of the published file, $order" "$(id -u)" "$(stat -c %u published)"
    rm file device published
    assert_empty "after fakeroot, $order"
done

# A tar made in fakeroot, under the library, is the same as without.
package() {
    fakeroot sh -euc 'mkdir tree; touch tree/file; chown 77:88 tree/file; mknod tree/null c 1 3
        tar -cf - --sort=name --mtime=@0 --numeric-owner tree; rm -r tree'
}
same "tar in fakeroot" package
tar -tvf "$scratch/out" --numeric-owner | grep -q ' 77/88 ' || fail "fakeroot's owners are not in the tar"

if command -v fakechroot >/dev/null; then
    # fakechroot turns / into another directory, by libc's calls only: what we do by system calls must not end up in the
    # real one. The descriptor has to be on the filesystem under test.
    cat >"$scratch/chroot.py" <<'PYTHON'
import os, sys
os.chroot(sys.argv[1])
os.chdir("/")
fd = os.open("/sub", os.O_TMPFILE | os.O_RDWR, 0o600)
device = os.fstat(fd).st_dev
assert device == int(sys.argv[2]), f"made on device {device} instead of {sys.argv[2]}"
os.write(fd, b"text")
print("fine")
PYTHON
    mkdir sub
    chroots() { # PRELOAD-ORDER
        case $1 in
            fakechroot) fakechroot "$python" "$scratch/chroot.py" "$directory" "$(stat -c %d .)" ;;
            fakechroot-first) LD_PRELOAD=$library fakechroot "$python" "$scratch/chroot.py" "$directory" "$(stat -c %d .)" ;;
            tmpshim-first) fakechroot sh -c 'LD_PRELOAD=$1:$LD_PRELOAD; export LD_PRELOAD; shift; exec "$@"' sh "$library" \
                "$python" "$scratch/chroot.py" "$directory" "$(stat -c %d .)" ;;
        esac
    }
    control "O_TMPFILE in fakechroot" chroots fakechroot
    for order in fakechroot-first tmpshim-first; do
        succeeds "O_TMPFILE, $order" chroots $order
        equal "O_TMPFILE, $order" fine "$(cat "$scratch/out" "$scratch/err")"
        assert_nothing_hidden "after fakechroot, $order"
    done
    rmdir sub
fi
finish
