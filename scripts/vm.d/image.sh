# shellcheck shell=bash
# What scripts/old-kernel boots: the emulator, a kernel with its modules, programs, a disk. Sourced after packages.sh.
# shellcheck disable=SC2034,SC2154 # for, and of, scripts/old-kernel and packages.sh

# Sets $qemu, $qemu_libraries, $qemu_options: the machine's own, or Debian's.
vm_qemu() {
    qemu_libraries=${LD_LIBRARY_PATH-} qemu_options=()
    if qemu=$(command -v "qemu-system-$machine"); then
        return
    fi
    local root=$cache/qemu
    if [ ! -x "$root/usr/bin/qemu-system-$machine" ]; then
        packages_of own
        packages_unpack_all "$root" qemu-system-x86:amd64 qemu-system-arm:amd64 ipxe-qemu
    fi
    qemu=$root/usr/bin/qemu-system-$machine
    qemu_libraries=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu
    qemu_options=(-L "$root/usr/share/qemu" -L "$root/usr/share/seabios" -L "$root/usr/lib/ipxe/qemu")
}

# Sets $image and $kernel, and makes $work/initrd.
vm_kernel() {
    local root=$cache/kernel-$release-$debian package busybox=$cache/busybox-$debian modules
    if [ ! -d "$root/boot" ]; then
        packages_of "$release"
        # A mirror may name a version that it does not have.
        for package in $(apt-cache "${apt[@]}" pkgnames linux-image- | grep -E "^linux-image-[0-9.]+-[0-9]+-$debian\$" | sort -rV); do
            (packages_unpack "$root" "$package:$debian") 2>"$packages/refused" && break
        done
        [ -d "$root/boot" ] || fail "no kernel for $debian in Debian $release: $(cat "$packages/refused")"
    fi
    image=$(echo "$root"/boot/vmlinuz-*)
    kernel=${image##*/vmlinuz-}
    local own=$cache/busybox-amd64/bin/busybox architecture
    for architecture in amd64 $debian; do
        if [ ! -x "$cache/busybox-$architecture/bin/busybox" ]; then
            packages_of own
            packages_unpack "$cache/busybox-$architecture" "busybox-static:$architecture"
        fi
    done
    modules=$root/lib/modules/$kernel
    rm -rf "$work/initrd.d"
    mkdir -p "$work/initrd.d"/{bin,dev,proc,disk,modules}
    cp "$busybox/bin/busybox" "$work/initrd.d/bin"
    cp scripts/vm.d/init "$work/initrd.d/init"
    [ -s "$modules/modules.dep" ] || "$own" depmod -b "$root" "$kernel"
    vm_modules "$modules" virtio_pci virtio_blk crc32c_generic ext4 fuse overlay loop vfat nls_cp437 nls_ascii nls_iso8859-1 9p 9pnet_virtio
    (cd "$work/initrd.d" && find . | "$own" cpio -o -H newc 2>/dev/null) >"$work/initrd"
}

# vm_modules DIRECTORY NAME...: puts them and what they need into the initrd, in the order in which they can be loaded. What is
# built into the kernel is not there.
vm_modules() {
    local directory=$1 name path needed file
    shift
    : >"$work/initrd.d/modules/order"
    for name in "$@"; do
        path=$(sed -nE "s#^([^:]*/$name\.ko(\.xz)?):.*#\1#p" "$directory/modules.dep" | head -n 1)
        [ -n "$path" ] || continue
        needed=$(grep -F "$path:" "$directory/modules.dep" | sed 's/^[^:]*://' | tr ' ' '\n' | tac)
        for path in $needed $path; do
            file=${path##*/}
            file=${file%.xz}
            grep -qx "$file" "$work/initrd.d/modules/order" && continue
            case $path in
                *.xz) xz -dc "$directory/$path" >"$work/initrd.d/modules/$file" ;;
                *) cp "$directory/$path" "$work/initrd.d/modules/$file" ;;
            esac
            echo "$file" >>"$work/initrd.d/modules/order"
        done
    done
}

# The files under test, and the matrix's programs: $work/programs, $command, $library, $harness.
vm_programs() {
    local target=$machine-unknown-linux-gnu environment=()
    if [ "$machine" = "$(uname -m)" ]; then
        command=dist/tmpshim library=dist/libtmpshim.so
        [ -x $command ] || fail "no $command: run scripts/build first"
        cargo test --quiet --release --locked --package tmpshim-harness --no-run
        harness=$(vm_newest "${CARGO_TARGET_DIR:-target}/$target/release/deps/matrix-")
        builder=$harness
    else
        local built=target/aarch64/$target/release
        command=$built/tmpshim library=$built/libtmpshim.so
        harness=$(vm_newest "$built/deps/matrix-")
        if [ ! -x "$command" ] || [ -z "$harness" ]; then
            fail "no $command or no harness for it: run scripts/aarch64 build first"
        fi
        cargo test --quiet --release --locked --package tmpshim-harness --no-run
        builder=$(vm_newest "${CARGO_TARGET_DIR:-target}/$(uname -m)-unknown-linux-gnu/release/deps/matrix-")
        environment=(TMPSHIM_MACHINE="$machine-linux-gnu" RUSTC="$cache/rust/bin/rustc" CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc)
    fi
    mkdir -p "$work/programs"
    local filter
    for filter in T1::every_door T3::reopen T3::uses "${cells[@]}"; do
        env "${environment[@]}" TMPSHIM_BUILD="$work/programs" "$builder" "$filter" >"$work/build.log" 2>&1 ||
            fail "the programs of $filter could not be built: $work/build.log"
    done
}

vm_newest() { # PREFIX
    find "${1%/*}" -maxdepth 1 -name "${1##*/}*" -perm -u+x -type f -printf '%T@ %p\n' | sort -rn | sed -n '1s/^[^ ]* //p'
}

# A root directory of this machine's own release, with all of the above: $work/disk.
vm_disk() {
    local root=$cache/root-$debian disk=$work/disk.d
    if [ ! -d "$root/usr" ]; then
        packages_of own
        packages_unpack_all "$root" {coreutils,mount,util-linux,dash,mawk,grep,sed,procps,findutils,dosfstools,e2fsprogs,fuse3,bindfs,mergerfs,fuse-overlayfs,musl}:"$debian"
    fi
    rm -rf "$disk" "$work/disk" "$work/9p"
    mkdir "$work/9p"
    cp -a "$root" "$disk"
    mkdir -p "$disk"/{proc,sys,dev,tmp,run,root,programs/c-tests}
    ln -sf dash "$disk/bin/sh"
    ln -sf mawk "$disk/usr/bin/awk"
    cp "$cache/busybox-$debian/bin/busybox" "$disk/bin/busybox"
    cp "$work/programs/"* "$disk/programs/" 2>/dev/null || true
    cp -r c-tests/matrix "$disk/programs/c-tests/matrix"
    cp "$harness" "$disk/matrix"
    cp "$command" "$disk/usr/bin/tmpshim"
    cp "$library" "$disk/usr/lib/libtmpshim.so"
    cp scripts/vm.d/guest "$disk/guest"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$disk/etc/passwd"
    echo 'root:x:0:' >"$disk/etc/group"
    printf 'CELLS="%s"\n' "${cells[*]}" >"$disk/guest.conf"
    truncate -s 1500M "$work/disk"
    /sbin/mkfs.ext4 -q -F -E root_owner=0:0 -d "$disk" "$work/disk" || fail "mkfs.ext4 could not make $work/disk"
    rm -rf "$disk"
}
