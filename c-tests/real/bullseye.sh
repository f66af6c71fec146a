#!/usr/bin/env bash
# Debian 11's programs on their own glibc 2.31, where dlsym is in libdl and fstat in no libc: perl, which brings libdl, and
# programs that do not. In a chroot, and by their own ld.so. T1, T7, design 8.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# shellcheck source=release.sh
. "$(dirname -- "$0")/release.sh"
check_release bullseye
equal "glibc of Debian 11" 2.31 "$glibc_version"
finish
