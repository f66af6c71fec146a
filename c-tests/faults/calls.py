"""The table of errnos, and the numbers of system calls."""

import errno
import pathlib
import re
import subprocess
import tomllib

BESIDE = pathlib.Path(__file__).resolve().parent


def _numbers():
    """By name, as the C compiler sees them."""
    headers = subprocess.run(
        ["gcc", "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"],
        check=True, capture_output=True, text=True).stdout
    return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", headers)}


NUMBERS = _numbers()
NAMES = {number: name for name, number in NUMBERS.items()}
ERRNOS = {call: names.split() for call, names in tomllib.loads((BESIDE / "errnos.toml").read_text()).items()}
SINCE_LATER = ERRNOS.pop("since_later")


def is_for_ever(name, error):
    """Whether a call that fails so once always does."""
    return error == "ENOSYS" and name in SINCE_LATER


def number_of_errno(name):
    return getattr(errno, name)


def errnos_of(number):
    """What a call may fail with, by name. Who makes a call that is not in the table has to add it."""
    name = NAMES.get(number, str(number))
    if name not in ERRNOS:
        raise SystemExit(f"errnos.toml has no line for {name}")
    return ERRNOS[name]
