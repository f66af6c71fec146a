"""Where the bench works: the built programs, the filesystems, and what a program's environment is there."""

import os
import platform
import re
import subprocess
import sys

# Preloads lie under paths of one length: the loader copies them.
LIBRARY, EMPTY, SHORTEST = "shim____", "empty___", "shortest"
OURS = ("LD_PRELOAD", "TMPSHIM")


def say(*words):
    print("bench:", *words, file=sys.stderr, flush=True)


def give_up(*words):
    sys.exit("bench: " + " ".join(map(str, words)))


class Ground:
    def __init__(self, built, tmpfs, disk, is_quick):
        self.built, self.tmpfs, self.disk, self.is_quick = built, tmpfs, disk, is_quick
        self.state = os.path.join(tmpfs, "state")

    def program(self, name):
        return os.path.join(self.built, name)

    def mount(self, name):
        """Where this filesystem is mounted, and why it is not."""
        point = os.path.join(self.tmpfs, "mounts", name)
        try:
            with open(point + ".refused", encoding="utf-8") as text:
                return None, text.read().strip()
        except FileNotFoundError:
            return (point, None) if os.path.ismount(point) else (None, "not mounted")

    def environment(self, preload=None, **more):
        """No setting of the caller's."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
        kept["TMPSHIM_STATE_DIR"] = self.state
        if preload:
            kept["LD_PRELOAD"] = self.preload(preload)
        return {**kept, **more}

    def preload(self, preload):
        """Of one of ours, the path; the loader finds the others by their names."""
        own = os.path.join(self.built, preload, "libtmpshim.so")
        return own if os.path.exists(own) else preload

    def times(self, number):
        """How many samples: one where it is only to be seen whether all of this still works."""
        return 1 if self.is_quick else number

    def size(self, number, quick):
        """How much of something."""
        return quick if self.is_quick else number


def filesystem(path):
    answer = subprocess.run(["stat", "-f", "-c", "%T", path], check=True, text=True, stdout=subprocess.PIPE)
    name = answer.stdout.strip()
    return "ext4" if name == "ext2/ext3" else name


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as text:
        found = re.search(r"^model name\s*: (.*)$", text.read(), re.M)
    with open("/proc/meminfo", encoding="utf-8") as text:
        memory = int(re.search(r"^MemTotal:\s*(\d+)", text.read(), re.M).group(1))
    return {
        "kernel": ".".join(platform.release().split("-")[0].split(".")[:2]),
        "cpu": found.group(1) if found else platform.machine(),
        "cores": os.cpu_count(),
        "memory": f"{memory / 2**20:.0f} GiB",
        "glibc": platform.libc_ver()[1],
        "load": round(os.getloadavg()[0], 1),
    }
