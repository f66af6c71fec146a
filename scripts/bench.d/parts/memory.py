"""What tmpshim itself keeps in memory, by the number of processes below it."""

import os
import re
import subprocess

import ways
from ground import give_up, say
from ways import NOTIFY, PROOT, STRACE_BPF, TRACE

IDLE, BUSY = "that only wait", "with a file and a tracked directory each"


def memory(ground, results):
    for kind in (IDLE, BUSY):
        for way in (NOTIFY, TRACE, PROOT, STRACE_BPF):
            lacks = ways.missing(ground, (way,)).get(way)
            if lacks:
                results.skip("memory", way, lacks)
            else:
                one_way(ground, results, way, kind)


def one_way(ground, results, way, kind):
    say(f"memory, {way}, processes {kind}")
    # Whoever traces them has the kernel look at all of them for each that stops: ten thousand that make a directory each
    # would take minutes.
    most = 10_000 if way == NOTIFY or (way == TRACE and kind == IDLE) else 1000
    numbers = (1, 100) if ground.is_quick else (1, 10, 100, 1000, 10_000)
    points = grow(ground, way, kind, [number for number in numbers if number <= most])
    title = f"Memory of the supervisor, processes {kind}"
    results.curve("memory", title, "processes", "KiB", way, [(count, [pss]) for count, pss, _ in points])
    if way not in (NOTIFY, TRACE):
        return
    count, pss, rss = points[-1]
    what = f"MiB of memory of {way} with {count:,} processes below it {kind}"
    results.goal("memory", f"{what}, resident", [pss / 1024], 4, form="{:.2f}",
                 key=count == 10_000)
    results.goal("memory", f"{what}, with what its two processes share counted twice", [rss / 1024], None, form="{:.2f}")
    each = (pss - points[0][1]) * 1024 / (count - 1)
    results.goal("memory", f"bytes that each process {kind} takes, {way}", [each], None, form="{:,.0f}")


def grow(ground, way, kind, numbers):
    """KiB for each number of processes."""
    top = os.path.join(ground.tmpfs, "crowd")
    os.mkdir(top)
    program = [ground.program("crowd"), top, *(["idle"] if kind == IDLE else [])]
    command = ways.line(ground, way, program, options=["--track", "crowd.*"])
    child = subprocess.Popen(command, env=ways.environment(ground, way), text=True, bufsize=1, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    points = []
    for number in numbers:
        child.stdin.write(f"{number}\n")
        if child.stdout.readline().strip() != "ready":
            give_up(f"{way}: {number} processes could not be had")
        points.append((number, *used(child.pid, os.path.realpath(f"/proc/{child.pid}/exe"))))
    child.stdin.close()
    if child.wait() != 0:
        give_up(f"{way}: status {child.returncode}")
    left = os.listdir(top)
    if way in (NOTIFY, TRACE) and left:
        give_up(f"{way}: {len(left)} directories of {numbers[-1]} were left")
    subprocess.run(["rm", "-rf", top], check=True)
    return points


def used(first, program):
    """Of this process and all below it that run the same program: what is theirs alone and their share of the rest, and
    what is resident, each page counted for each process."""
    pss = rss = 0
    for pid in below(first):
        try:
            if os.path.realpath(f"/proc/{pid}/exe") != program:
                continue
            with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as text:
                rollup = text.read()
        except (FileNotFoundError, ProcessLookupError):
            continue
        rss += int(re.search(r"^Rss:\s+(\d+)", rollup, re.M).group(1))
        pss += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M).group(1))
    return pss, rss


def below(pid):
    """This process and those that it and its own have started. A program's own crowd is not walked: no child of it runs
    tmpshim."""
    yield pid
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return
    for thread in threads:
        with open(f"/proc/{pid}/task/{thread}/children", encoding="utf-8") as text:
            for child in text.read().split():
                yield from below(child)
