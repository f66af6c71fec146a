#!/usr/bin/env bash
# Debian sid's programs on their own glibc, the newest there is. In a chroot, and by their own ld.so. T1, T7, design 8.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# shellcheck source=release.sh
. "$(dirname -- "$0")/release.sh"
check_release sid
finish
