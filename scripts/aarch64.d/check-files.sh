#!/usr/bin/env bash
# Looks at the two built files: static, or with the imports and exports that the other architecture's library has.
# usage: check-files.sh COMMAND LIBRARY
set -eu
command=$1 library=$2
fail() {
    printf 'aarch64: %s\n' "$*" >&2
    exit 1
}
for file in "$command" "$library"; do
    aarch64-linux-gnu-readelf -hW "$file" | grep -q 'Machine: *AArch64' || fail "$file is not for AArch64"
done
if aarch64-linux-gnu-readelf -lW "$command" | grep -q INTERP; then fail "$command is not static"; fi
needed=$(aarch64-linux-gnu-readelf -dW "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
[ "$needed" = libc.so.6 ] || fail "$library needs ${needed//$'\n'/ }, and must need libc.so.6 only"
# The same hooks as the other library, by the list that scripts/check-library has.
expected=$(sed -n "/^expected_exports='/,/'\$/p" scripts/check-library | sed "s/^expected_exports='//; s/'\$//" | LC_ALL=C sort)
exports=$(aarch64-linux-gnu-nm -D --defined-only "$library" | awk '{print $3}' | sed 's/@.*//' | LC_ALL=C sort -u)
[ "$expected" = "$exports" ] || fail "$library does not export the hooks of scripts/check-library: $(diff <(echo "$expected") <(echo "$exports") || true)"
highest=$(aarch64-linux-gnu-nm -D "$library" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -V | tail -n 1)
[ "$highest" = 2.17 ] || fail "$library needs glibc $highest, and must do with 2.17, the oldest that AArch64 has"
printf 'aarch64: %s: %s bytes; %s: %s bytes, glibc %s, %s hooks\n' "$command" "$(stat -c %s "$command")" "$library" \
    "$(stat -c %s "$library")" "$highest" "$(wc -l <<<"$exports")"
