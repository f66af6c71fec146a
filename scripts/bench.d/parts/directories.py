"""Temporary directories: making one, and removing all of them at the program's end or by a sweep."""

import os
import shutil
import signal
import subprocess
import time

import ways
from figures import counted
from ground import LIBRARY, filesystem, give_up, say
from parts.calls import against_proot, batch
from samples import median, turns
from ways import LIB, NATIVE, Workers

RM, EXIT, SWEEP = "rm -rf", "tmpshim, at exit", "tmpshim sweep, after SIGKILL"
LARGE = 100_000
TIMES = {1: 31, 10: 31, 100: 21, 1000: 15, 10_000: 7, LARGE: 3}
TITLES = {EXIT: "Removing directories at the program's end", SWEEP: "Removing directories by a sweep"}


def make(ground, preload, top, count, *how):
    """Makes the directories in a program of their own; the nanoseconds that one took, and those from just before exit()
    until it was over."""
    os.mkdir(top)
    child = subprocess.Popen(
        [ground.program("mkdtemps"), top, str(count), *how], env=ground.environment(preload), stdout=subprocess.PIPE
    )
    _, status = os.waitpid(child.pid, 0)
    end = time.monotonic_ns()
    child.returncode = os.waitstatus_to_exitcode(status)
    making, before = map(int, child.stdout.read().split())
    child.stdout.close()
    left = len(os.listdir(top))
    was_killed = "killed" in how
    if child.returncode != (-signal.SIGKILL if was_killed else 0) or left != (0 if preload and not was_killed else count):
        give_up(f"{count} directories were made, {left} are there, status {child.returncode}")
    return making / max(count, 1), end - before


def mkdtemp(ground, results):
    say("mkdtemp")
    top = os.path.join(ground.tmpfs, "made")
    os.mkdir(top)
    # Not allow and the supervisors: a mkdtemp is libc's, and only the library tracks it.
    those = [way for way in ways.ALL if way not in (ways.ALLOW, ways.NOTIFY, ways.TRACE)]
    with Workers(ground, those, [ground.program("batch")]) as workers:
        raw = turns(ground.times(51), workers.ways, batch(ground, workers, "mkdtemp", 200, top))
    os.rmdir(top)
    results.bars("mkdtemp", "A mkdtemp on tmpfs", "ns", raw, drawn=True)
    results.against("mkdtemp", "mkdtemp on tmpfs, tracked, against nothing", raw, LIB, NATIVE, 1.5, key=True)
    against_proot("mkdtemp", "mkdtemp on tmpfs", raw, results)

    def first(way):
        each, _ = make(ground, ways.PRELOADS.get(way), top, 1)
        shutil.rmtree(top)
        return each / 1000

    raw = turns(ground.times(61), [ways.NO_PRELOAD, LIB], lambda way: first(None if way == ways.NO_PRELOAD else way))
    more = [a - b for a, b in zip(raw[LIB], raw[ways.NO_PRELOAD])]
    what = "microseconds that the first mkdtemp of a process takes more, journal and handlers"
    results.goal("mkdtemp", what, more, None, form="{:,.0f}")


def remove(command):
    """How many milliseconds a command takes from its start to its end. What it says of each directory goes nowhere."""
    nowhere = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
    start = time.monotonic_ns()
    child = os.posix_spawnp(command[0], command, os.environ, file_actions=nowhere)
    _, status = os.waitpid(child, 0)
    spent = time.monotonic_ns() - start
    return spent / 1e6 if status == 0 else give_up(f"{command[0]}: status {status}")


def once(ground, which, top, count, how, making=None):
    """The milliseconds of one removal of so many directories. What one of them took to make goes into `making`."""
    if which == EXIT:
        each, spent = make(ground, LIBRARY, top, count, *how)
        os.rmdir(top)
        if making is not None:
            making[which].append(round(each / 1000, 3))
        return spent / 1e6
    each, _ = make(ground, LIBRARY if which == SWEEP else None, top, count, *how, "killed")
    if making is not None:
        making[which].append(round(each / 1000, 3))
    if which == SWEEP:
        spent = remove([ground.program("tmpshim"), "sweep", "--state-dir", ground.state])
        os.rmdir(top)
        return spent
    spent = remove(["rm", "-rf", top])
    return give_up(f"rm -rf left {top}") if os.path.exists(top) else spent


def grow(ground, results, part, which):
    """The same by the number of directories, and against rm. The other filesystem is one in memory, too, where there is one:
    what a disk does meanwhile is neither's."""
    for where in (ground.tmpfs, ground.mount("ext4")[0] or ground.disk):
        for kind, how in (("empty", []), ("one file in each", ["file"])):
            numbers = (1, 1000) if ground.is_quick else (1, 10, 100, 1000, 10_000, 100_000)
            # Minutes of making them say nothing that ten thousand do not.
            most = LARGE if not how and (part == "removal" or where == ground.tmpfs) else 10_000
            one_kind(ground, results, (part, which, where, kind, how), [number for number in numbers if number <= most])


def one_kind(ground, results, what, numbers):
    part, which, where, kind, how = what
    top, name = os.path.join(where, "made"), filesystem(where)
    # What neither has to remove: the start of a process, the end of another.
    none = turns(ground.times(21), [RM, which], lambda one: once(ground, one, top, 0, how))
    curves, made = {RM: [], which: []}, {RM: [], which: []}
    for count in numbers:
        say(f"{part} of {counted(count, 'directories')} on {name}, {kind}")
        making = {RM: [], which: []}

        def one(way, count=count, making=making):
            return once(ground, way, top, count, how, making)

        raw = turns(ground.times(TIMES[count]), [RM, which], one, 60 if count == LARGE else 8, count != LARGE)
        compare(results, part, which, (name, kind, count), raw, none)
        for way, values in raw.items():
            curves[way].append((count, values))
            made[way].append((count, making[way]))
    for way, points in curves.items():
        results.curve(part, f"{TITLES[which]} on {name}, {kind}", "directories", "ms", way, points, drawn=not how)
    if which == EXIT and not how:
        for way, shown in ((RM, ways.NATIVE), (EXIT, LIB)):
            results.curve("mkdtemp", f"A mkdtemp on {name}, as one of so many", "directories", "µs", shown, made[way])


def compare(results, part, which, what, raw, none):
    place, kind, count = what
    name = f"{counted(count, 'directories')} ({kind}), {place}: {which}, against `rm -rf`"
    key = kind == "empty" and count in (1, 1000, 100_000) and which == EXIT
    results.against(part, name, raw, which, RM, 1.0, key=key)
    if count >= 1000:
        ground_level = {one: median(values) for one, values in none.items()}
        bare = {one: [value - ground_level[one] for value in values] for one, values in raw.items()}
        if min(bare[RM]) > 0:
            results.against(part, f"{name}, both without what they take for none", bare, which, RM, None)


def removal(ground, results):
    grow(ground, results, "removal", EXIT)


def sweep(ground, results):
    grow(ground, results, "sweep", SWEEP)
