#!/usr/bin/env bash
# plocate's updatedb: makes its database with O_TMPFILE, publishes it with linkat, and writes the header only then. Without
# O_TMPFILE it has a way of its own, so that the library can only break it. T7.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
need updatedb.plocate plocate

tree=$scratch/tree
mkdir -p "$tree/some/where"
for ((n = 0; n < 3000; n++)); do
    : >"$tree/some/file-$n"
done
: >"$tree/some/where/needle-in-the-hay"
update() { # HOW DATABASE
    succeeds "updatedb, $1" "$1" updatedb.plocate -l 0 -o "$2" -U "$tree" --prunepaths '' --prunefs '' --prune-bind-mounts no
}
# plocate gives up its rights by a group id, and a FUSE mount may be for one user only: it reads a copy.
found() { # DATABASE PATTERN
    install -m 644 "$1" "$scratch/copy.db"
    without plocate -d "$scratch/copy.db" -- "$2" || true
}

# The header ends with a bool and seven bytes of padding that updatedb leaves as its stack had them: bytes 106 to 112.
same_database() {
    [ -z "$(cmp -l "$1" "$2" 2>&1 | awk '!($1 >= 106 && $1 <= 112)')" ]
}
# The times of directories changed a moment ago are left out of the database; one run is like the next only after that.
settled() {
    update without "$scratch/first.db"
    update without bare.db
    same_database "$scratch/first.db" bare.db
}
until_true 15 "two databases of the same tree are the same" settled
update with shim.db
for name in bare shim; do
    equal "locate in the database made $name" "$tree/some/where/needle-in-the-hay" "$(found $name.db needle-in)"
    equal "files in the database made $name" 3000 "$(found $name.db some/file- | wc -l)"
done
# Byte for byte the same, and so the header too: it is what is written after linkat.
same_database bare.db shim.db || fail "the databases made with and without the library differ"
equal "mode of the database" "$(stat -c '%a %U %G %h' bare.db)" "$(stat -c '%a %U %G %h' shim.db)"
assert_nothing_hidden "after updatedb"

# Again, over the existing database: updatedb unlinks the old name first.
: >"$tree/some/newcomer"
update with shim.db
equal "locate after an update" "$tree/some/newcomer" "$(found shim.db newcomer)"
same "locate" plocate -d "$scratch/copy.db" newcomer
rm bare.db shim.db
finish
