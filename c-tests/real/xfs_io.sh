#!/usr/bin/env bash
# xfs_io (xfsprogs): -T opens with O_TMPFILE, flink publishes with linkat(fd, "", ..., AT_EMPTY_PATH). T1, T2, T3, T7.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
need xfs_io

# AT_EMPTY_PATH needs CAP_DAC_READ_SEARCH natively; what a user without it gets there is ENOENT, here as well.
can_flink=yes
[ "$(id -u)" = 0 ] || [ $native = no ] || can_flink=no

control "xfs_io -T" xfs_io -T -c 'pwrite -q 0 10' .
assert_empty "xfs_io -T without the library"

for flags in -T -Ta -Ts -Tn; do
    succeeds "xfs_io $flags" with xfs_io $flags -c 'pwrite -q -S 0x41 0 100000' -c 'stat' .
    grep -q '^stat.size = 100000$' "$scratch/out" || fail "xfs_io $flags: the size is not 100000: $(seen)"
    assert_empty "after xfs_io $flags"
done

# -r makes it O_RDONLY|O_TMPFILE: invalid on every filesystem, and that is the caller's own mistake (T2).
refused "xfs_io -r -T without the library" "Invalid argument" without xfs_io -r -T -c stat .
refused "xfs_io -r -T" "Invalid argument" with xfs_io -r -T -c stat .
assert_empty "after xfs_io -r -T"
# A path that is no directory.
: >file
refused "xfs_io -T on a file without the library" "Not a directory" without xfs_io -T -c stat file
refused "xfs_io -T on a file" "Not a directory" with xfs_io -T -c stat file
rm file
refused "xfs_io -T on nothing" "No such file or directory" with xfs_io -T -c stat nothing

if [ $can_flink = yes ]; then
    # Written before and after flink, with a hole, one descriptor all the way.
    succeeds "pwrite, flink, pwrite" with xfs_io -T \
        -c 'pwrite -q -S 0x61 0 70000' -c 'flink published' \
        -c 'pwrite -q -S 0x62 200000 70000' -c 'pwrite -q -S 0x63 100 5' .
    perl -e 'print "a" x 100, "c" x 5, "a" x 69895, "\0" x 130000, "b" x 70000' >"$scratch/expected"
    cmp published "$scratch/expected" >&2 || fail "published has not the content that was written before and after flink"
    equal "mode of what xfs_io publishes" 600 "$(stat -c %a published)"
    equal "links of what xfs_io publishes" 1 "$(stat -c %h published)"
    assert_nothing_hidden "after flink"

    # Never replacing (T7): the name exists, natively as well.
    refused "flink onto an existing name" "File exists" with xfs_io -T -c 'pwrite -q -S 0x7a 0 10' -c 'flink published' .
    cmp published "$scratch/expected" >&2 || fail "a refused flink changed the file of that name"
    assert_nothing_hidden "after a refused flink"

    # Refused once, another name afterwards, and a second name for the same file.
    run with xfs_io -T -c 'pwrite -q -S 0x7a 0 10' -c 'flink published' -c 'flink other' -c 'pwrite -q -S 0x79 10 1' .
    exists other "the name that a second flink was given"
    equal "what the second flink published" zzzzzzzzzzy "$(cat other)"
    rm published other

    succeeds "flink to two names" with xfs_io -T -c 'pwrite -q -S 0x7a 0 10' -c 'flink one' -c 'flink two' \
        -c 'pwrite -q -S 0x79 10 1' .
    equal "first name" zzzzzzzzzzy "$(cat one)"
    # bindfs and mergerfs show a stale size through a second hard link for up to a second.
    second_name_whole() { [ "$(cat two)" = zzzzzzzzzzy ]; }
    until_true 10 "the second name shows what was written after flink" second_name_whole
    rm one two

    # Into a directory that does not exist: the error, and nothing left.
    refused "flink into no directory" "No such file or directory" with xfs_io -T -c 'flink nowhere/name' .
    # An empty file, and one in a subdirectory of where it was made.
    mkdir sub
    succeeds "flink of an empty file" with xfs_io -T -c 'flink sub/empty' .
    equal "size of the empty file" 0 "$(stat -c %s sub/empty)"
    rm -r sub
fi
finish
