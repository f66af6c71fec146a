#!/usr/bin/env bash
# The Debian package on Debian 13: installed, used, upgraded and purged.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# shellcheck source=installed.sh
. "$(dirname -- "$0")/installed.sh"
check_installed trixie
finish
