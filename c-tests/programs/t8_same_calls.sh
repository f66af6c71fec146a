#!/bin/sh
# T8, D7: programs that never ask for O_TMPFILE and make no temporary directory make the same system calls with the library
# as without, from their start to their end: it has none of its own. What is left out is the loader's mapping of the library,
# which ends when it gives up its cache.
# The contract of scripts is in c-tests/harness/src/cell.rs.
set -eu
command -v strace >/dev/null || { echo "strace is not installed"; exit 77; }
library=$TMPSHIM_LIBRARY
[ -e "$library" ] || { echo "$library does not exist"; exit 1; }
# The harness's own variables are no settings: the library would say so.
unset TMPSHIM_LIBRARY TMPSHIM_BIN TMPSHIM_FS

mkdir work
echo text >work/marker
echo other >work/other

# Everything from where the loader has done on; what is random in it is blotted out.
calls() {
    strace -f -o trace "$@" >/dev/null
    sed -e '/execve(/d' trace | sed -n '/munmap(/,$p' | sed -E -e 's/^[0-9]+ +//' -e 's/0x[0-9a-f]+/ADDRESS/g' \
        -e 's/ +=/ =/' -e 's/[0-9]{9,}/NUMBER/g' -e 's/getrandom\("[^"]*"/getrandom(BYTES/'
    rm trace
}

compare() {
    calls "$@" >plain
    calls -E "LD_PRELOAD=$library" "$@" >shimmed
    [ -s plain ] || { echo "strace saw nothing of: $*"; exit 1; }
    if ! diff -u plain shimmed; then
        echo "other system calls with the library: $*"
        exit 1
    fi
}

compare true
compare cat work/marker work/other
compare wc work/marker work/other
compare ls -l work/marker work
compare tar -cf work/archive work/marker work/other
rm work/archive
compare sed -n p work/marker work/other
rm -r work plain shimmed
