#!/bin/sh
# T8, D7: programs that never ask for O_TMPFILE and make no temporary directory make the same system calls with the library
# as without, from their start to their end: it has none of its own. What is left out is the loader's mapping of the library,
# which comes before it opens its cache.
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

# Everything from the first call that names the loader's cache on; addresses and times are blotted out.
calls() {
    strace -f -o trace "$@" >/dev/null
    # One mprotect more is the loader's, of the library.
    sed -e '/execve(/d' -e '/mprotect(/d' trace | sed -n '/ld\.so\.cache/,$p' | sed -E -e 's/^[0-9]+ +//' -e 's/0x[0-9a-f]+/ADDRESS/g' \
        -e 's/ +=/ =/' -e 's/[0-9]{9,}/NUMBER/g' -e '/set_tid_address/s/= .*/= PID/' -e 's/getrandom\("[^"]*"/getrandom(BYTES/'
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
