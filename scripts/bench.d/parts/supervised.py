"""A static Go program, which no library reaches, and its threads."""

import os

import ways
from ground import filesystem, say
from parts.calls import against_proot, noise
from samples import turns
from ways import ALLOW, CONTROL, NATIVE, NOTIFY, PROOT, STRACE, STRACE_BPF, TRACE, Workers

THOSE = (NATIVE, CONTROL, ALLOW, NOTIFY, TRACE, PROOT, STRACE_BPF, STRACE)


def supervised(ground, results):
    program = ground.program("calls")
    if not os.path.exists(program):
        results.skip("supervised", "a static Go program", "go is not installed")
        return
    with Workers(ground, THOSE, [program]) as workers:
        calls(ground, results, workers)
        threads(ground, results, workers)


def one(workers, what, count, top, number=1):
    def measure(way):
        less = max(number, count // 10) if way in ways.SLOW else count
        return workers.must(way, what, less, number, top) / less
    return measure


def calls(ground, results, workers):
    """What is none of the supervisor's business, and what is."""
    for what, name, count in (("open", "ordinary open and close", 400), ("getppid", "getppid", 2000)):
        say(f"{what} in a Go program")
        raw = turns(ground.times(101), workers.ways, one(workers, what, count, "-"))
        name = f"{name} in a static Go program"
        results.bars("supervised", name.capitalize().replace(" go ", " Go "), "ns", raw)
        limit = noise(raw) if what == "open" else None
        results.against("supervised", f"{name}, {NOTIFY}, against nothing (limit: the noise)" if limit else
                        f"{name}, {NOTIFY}, against nothing", raw, NOTIFY, NATIVE, limit, key=what == "open")
        for way in (TRACE, ALLOW):
            results.against("supervised", f"{name}, {way}, against nothing", raw, way, NATIVE, None)
        against_proot("supervised", name, raw, results)
    say("O_TMPFILE in a Go program")
    those = [way for way in workers.ways if way != CONTROL]
    raw = turns(ground.times(51), those, one(workers, "tmpfile", 200, ground.tmpfs))
    name = f"O_TMPFILE open and close on {filesystem(ground.tmpfs)} in a static Go program"
    results.bars("supervised", name.replace("O_TMPFILE open", "An O_TMPFILE open"), "ns", raw, drawn=True)
    results.against("supervised", f"{name}, {NOTIFY}, against nothing", raw, NOTIFY, NATIVE, 4, key=True)
    results.against("supervised", f"{name}, {TRACE}, against nothing", raw, TRACE, NATIVE, None)
    against_proot("supervised", name, raw, results, key=(NOTIFY,))


def threads(ground, results, workers):
    """Whether those who open at the same time wait for each other: microseconds for each file, by the threads."""
    places = [(filesystem(ground.tmpfs), ground.tmpfs, None, 800), ("bindfs", *ground.mount("bindfs"), 400),
              ("bindfs, 2 ms for each file it creates", *ground.mount("distant"), 64)]
    for name, top, why, count in places:
        title = f"O_TMPFILE opens by several threads, {name}"
        if not top:
            results.skip("supervised", title, why)
            continue
        is_native = not isinstance(workers.ask(NATIVE, "tmpfile", 1, 1, top), str)
        those = [way for way in ((NATIVE, NOTIFY, TRACE, PROOT) if is_native else (NOTIFY, TRACE)) if way in workers.ways]
        say(title)
        raw = {}
        for number in (1, 8) if ground.is_quick else (1, 2, 4, 8):
            each = turns(ground.times(9), those, one(workers, "tmpfile", ground.size(count, 16), top, number), 10)
            raw |= {(way, number): [value / 1000 for value in values] for way, values in each.items()}
        for way in those:
            points = [(number, raw[way, number]) for number in (1, 2, 4, 8) if (way, number) in raw]
            results.curve("supervised", title, "threads", "µs a file", way, points)
        for way in (NOTIFY, TRACE):
            limit = 0.25 if "2 ms" in name else None
            results.against("supervised", f"{title}: 8, against 1 that makes as many, {way}",
                            {8: raw[way, 8], 1: raw[way, 1]}, 8, 1, limit)
