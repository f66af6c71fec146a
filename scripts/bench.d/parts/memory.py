"""What tmpshim itself keeps in memory, by the number of processes below it, each of which has a file with O_TMPFILE and a
tracked directory."""

import os
import re
import subprocess

import ways
from ground import give_up, say
from ways import NOTIFY, PROOT, STRACE_BPF, TRACE


def memory(ground, results):
    numbers = (1, 100) if ground.is_quick else (1, 10, 100, 1000, 10_000)
    for way in (NOTIFY, TRACE, PROOT, STRACE_BPF):
        lacks = ways.missing(ground, (way,)).get(way)
        if lacks:
            results.skip("memory", way, lacks)
            continue
        say(f"memory, {way}")
        points = grow(ground, way, numbers)
        results.curve("memory", "Memory of the supervisor, private and its share", "processes", "KiB", way,
                      [(count, [pss]) for count, pss, _ in points])
        if way in (NOTIFY, TRACE):
            count, pss, rss = points[-1]
            what = f"MiB of memory of {way} with {count:,} processes below it"
            results.goal("memory", f"{what}, resident", [rss / 1024], 4, form="{:.2f}", key=True)
            results.goal("memory", f"{what}, private and its share", [pss / 1024], 4, form="{:.2f}")
            each = (pss - points[0][1]) * 1024 / (count - 1)
            results.goal("memory", f"bytes that each process below takes more, {way}", [each], None, form="{:,.0f}")


def grow(ground, way, numbers):
    """KiB for each number of processes."""
    top = os.path.join(ground.tmpfs, "crowd")
    os.mkdir(top)
    command = ways.line(ground, way, [ground.program("crowd"), top], options=["--track", "crowd.*"])
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
