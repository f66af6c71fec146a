"""Instructions, counted by callgrind: they do not depend on what else the machine does."""

import os
import re
import subprocess

from ground import EMPTY, LIBRARY, SHORTEST, say
from ways import EATMYDATA, LIB, NATIVE, NO_PRELOAD, PRELOADS, SHORT

OBJECT = re.compile(r"^c?ob=\((\d+)\)(?: (.*))?$")
FUNCTION = re.compile(r"^c?fn=\((\d+)\)(?: (.*))?$")
COST = re.compile(r"^[+*\-\d]\S* (\d+)$")


class Counted:
    """A run under callgrind: all instructions, and of each object its own."""

    def __init__(self, ground, preload, *command):
        out = os.path.join(ground.tmpfs, "callgrind.out")
        # No setting either: reading one costs as much as all the rest. The preload is for the program only.
        environment = {key: value for key, value in ground.environment().items() if not key.startswith("TMPSHIM")}
        front = ["env", f"LD_PRELOAD={ground.preload(preload)}"] if preload else ["env"]
        count = ["valgrind", "-q", "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={out}"]
        subprocess.run([*count, *front, *command], env=environment, check=True, stdout=subprocess.DEVNULL)
        self.objects = {}
        with open(out, encoding="utf-8", errors="replace") as text:
            self.total = self.read(text)
        os.unlink(out)

    def read(self, text):
        names, current, is_call, total = {}, None, False, 0
        for line in text:
            if found := OBJECT.match(line):
                number, name = found.groups()
                names[number] = os.path.basename(name.strip()) if name else names[number]
                current = names[number] if line.startswith("ob") else current
            elif line.startswith("calls="):
                is_call = True
            elif found := COST.match(line):
                # Behind "calls=" stands what the called function has spent.
                if not is_call:
                    self.objects[current] = self.objects.get(current, 0) + int(found.group(1))
                is_call = False
            elif found := re.match(r"^(?:totals|summary): (\d+)$", line):
                total = int(found.group(1))
        return total


def opens(ground, results):
    few = ground.size(5000, 500)
    for door in ("open",) if ground.is_quick else ("open", "openat", "open64"):
        say(f"instructions of {door}")
        one = {}
        for preload in (EMPTY, LIBRARY):
            once, twice = (Counted(ground, preload, ground.program("opens"), door, str(n)).total for n in (few, 2 * few))
            one[preload] = (twice - once) / few
        added = one[LIBRARY] - one[EMPTY]
        what = f"instructions added to an ordinary `{door}`"
        results.goal("opens", what, [added], 20, form="{:,.0f}", key=door == "open")


def start(ground, results):
    say("instructions at start")
    runs = {way: Counted(ground, PRELOADS.get(way), ground.program("start")) for way in (NATIVE, NO_PRELOAD, SHORT, LIB)}
    results.bars("start", "Instructions from a process's start to its end", "", {w: [r.total] for w, r in runs.items()})
    library, empty = runs[LIB], runs[NO_PRELOAD]
    # What the library's own code does, and what the loader has to do because of it.
    own = library.objects.get("libtmpshim.so", 0)
    rows = (
        ("instructions that a process's start and end take more with the library than with an empty preload",
         library.total - empty.total, 3000, True),
        ("of these, the library's own", own, None, False),
        ("of these, the loader's and libc's", library.total - empty.total - own, None, False),
        ("the same of an empty preload, against none", empty.total - runs[NATIVE].total, None, False),
        ("the same of the shortest C preload, against an empty one", runs[SHORT].total - empty.total, None, False),
    )
    for what, count, limit, key in rows:
        results.goal("start", what, [count], limit, form="{:,.0f}", key=key)
