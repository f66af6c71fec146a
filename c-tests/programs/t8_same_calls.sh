#!/bin/sh
# T8: programs that never ask for O_TMPFILE make the same system calls with the library as without, from the moment they are
# at work. What comes before is the loader's and the library's own start.
# The contract of scripts is in c-tests/harness/src/cell.rs.
set -eu
command -v strace >/dev/null || { echo "strace is not installed"; exit 77; }
[ -e "$TMPSHIM_LIBRARY" ] || { echo "$TMPSHIM_LIBRARY does not exist"; exit 1; }

mkdir work
echo text >work/marker
echo other >work/other

# Everything from the first call that names the marker on; addresses, descriptors' order and pids stay the same by
# themselves or are blotted out.
calls() {
    strace -f -o trace "$@" >/dev/null
    sed -n '/marker/,$p' trace | sed -E -e 's/^[0-9]+ +//' -e 's/0x[0-9a-f]+/ADDRESS/g' \
        -e '/^execve\(|^(clone|vfork|wait4|brk|futex)|^rt_sig/d' -e 's/\{st_[^}]*\}/STATUS/g' -e 's/[0-9]{9,}/NUMBER/g'
    rm trace
}

compare() {
    calls "$@" >plain
    calls -E "LD_PRELOAD=$TMPSHIM_LIBRARY" "$@" >shimmed
    [ -s plain ] || { echo "strace saw nothing of: $*"; exit 1; }
    if ! diff -u plain shimmed; then
        echo "other system calls with the library: $*"
        exit 1
    fi
}

compare cat work/marker work/other
compare wc work/marker work/other
compare ls -l work/marker work
compare tar -cf work/archive work/marker work/other
rm work/archive
compare sed -n p work/marker work/other
rm -r work plain shimmed
