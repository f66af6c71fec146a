"""Measures, for scripts/bench. Not to be called by hand: what it needs is built and mounted there.

usage: measure.py BUILT TMPFS DISK RESULTS QUICK WRITE PART...      QUICK, WRITE: yes or nothing
"""

import os
import sys

import pictures
import report
from ground import Ground, machine, say
from parts import calls, directories, fallback, instructions, memory, publish, supervised
from results import Results

PARTS = {
    "opens": (instructions.opens, calls.opens),
    "start": (instructions.start, calls.start),
    "tmpfile": (calls.tmpfile,),
    "fallback": (fallback.fallback,),
    "publish": (publish.publish,),
    "mkdtemp": (directories.mkdtemp,),
    "removal": (directories.removal,),
    "sweep": (directories.sweep,),
    "supervised": (supervised.supervised,),
    "memory": (memory.memory,),
}


def main():
    built, tmpfs, disk, where, is_quick, is_written, *only = sys.argv[1:]
    ground = Ground(built, tmpfs, disk, bool(is_quick))
    seen, results = machine(), Results()
    for name, measures in PARTS.items():
        if not only or name in only:
            for measure in measures:
                measure(ground, results)
    print(report.head(seen), end="\n\n")
    for name in PARTS:
        text = report.part(results, name)
        if text:
            print(f"## {name}\n\n{text}\n")
    print(f"## growth\n\n{report.growth(results)}")
    report.as_json(results, seen, where)
    pictures.draw(results, os.path.join(os.path.dirname(where), "bench"))
    if is_written:
        write(results, seen)
    if ground.is_quick:
        say("--quick: one sample of each says nothing of how long anything takes; goals were not looked at")
        return 0
    return 0 if results.all_met() else 1


def write(results, seen):
    """Into the pages, for a run of everything."""
    page = "docs/performance.md"
    report.put(page, "machine", report.head(seen))
    report.put(page, "goals", report.goals(results, only_key=True))
    for name in PARTS:
        report.put(page, name, report.part(results, name, "performance"))
    report.put(page, "growth", report.growth(results))
    report.put("README.md", "goals", f"{report.head(seen)}\n\n{report.goals(results, only_key=True)}")
    report.as_json(results, seen, "docs/performance/samples.json")
    pictures.draw(results, "docs/performance")
    say(f"written: {page}, docs/performance/, README.md")


sys.exit(main())
