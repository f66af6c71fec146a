"""Ordinary opens, O_TMPFILE where the filesystem has it, and the start of a process: in every way there is."""

import subprocess
import time

import ways
from ground import filesystem, give_up, say
from samples import turns
from ways import CONTROL, LIB, NATIVE, NO_PRELOAD, NOTIFY, PROOT, TRACE, Workers

OURS = (LIB, NOTIFY, TRACE)


def noise(raw):
    """What 95 of 100 pairs of two processes that run in the same way stay below, but no more than 1.05: a busy machine is no
    excuse. None where there are too few."""
    ratios = sorted(a / b for a, b in zip(raw[CONTROL], raw[NATIVE]))
    return min(ratios[len(ratios) * 95 // 100], 1.05) if len(ratios) >= 20 else None


def against_proot(part, what, raw, results, key=()):
    for way in OURS:
        results.against(part, f"{what}, {way}, against proot", raw, way, PROOT, 1 / 3, key=way in key)


def batch(ground, workers, what, count, *rest):
    def one(way):
        number = max(1, count // 10) if way in ways.SLOW else count
        return workers.must(way, what, number, *rest) / number
    return one


def opens(ground, results):
    say("an ordinary open")
    with Workers(ground, (NATIVE, CONTROL, *ways.ALL[1:]), [ground.program("batch")]) as workers:
        raw = turns(ground.times(101), workers.ways, batch(ground, workers, "open", 400, "-"))
    limit = noise(raw)
    title = "An ordinary open and close in a C program"
    results.bars("opens", title, "ns", raw, drawn=True)
    what = "ordinary open and close in a C program"
    results.against("opens", f"{what}, {LIB}, against an empty preload", raw, LIB, NO_PRELOAD, None)
    noisy = f"{what}, {NOTIFY}, against nothing (limit: the noise)"
    results.against("opens", noisy, raw, NOTIFY, NATIVE, limit, key=True)
    results.against("opens", f"{what}, {TRACE}, against nothing", raw, TRACE, NATIVE, None)
    results.against("opens", f"{what}, {ways.ALLOW}, against nothing", raw, ways.ALLOW, NATIVE, None)
    against_proot("opens", what, raw, results, key=(NOTIFY,))


def tmpfile(ground, results):
    for top in (ground.tmpfs, ground.disk):
        name = filesystem(top)
        say(f"O_TMPFILE on {name}")
        with Workers(ground, ways.ALL, [ground.program("batch")]) as workers:
            raw = turns(ground.times(51), workers.ways, batch(ground, workers, "tmpfile", 200, top, "0600"))
        what = f"O_TMPFILE open and close on {name} in a C program"
        results.bars("tmpfile", f"An O_TMPFILE open and close on {name}", "ns", raw, drawn=top == ground.tmpfs)
        results.against("tmpfile", f"{what}, {LIB}, against an empty preload", raw, LIB, NO_PRELOAD, None)
        is_key = top == ground.tmpfs
        for way, limit in ((NOTIFY, 4), (TRACE, None)):
            results.against("tmpfile", f"{what}, {way}, against nothing", raw, way, NATIVE, limit, key=is_key)
        against_proot("tmpfile", what, raw, results, key=(NOTIFY,) if is_key else ())


def start(ground, results):
    """How long a program takes that ends at once: most of it is what goes on before that begins."""
    say("starts")
    program = [ground.program("start")]
    whole = "tmpshim run (auto)"
    lines = {way: ways.line(ground, way, program) for way in ways.ALL if not ways.missing(ground, (way,))}
    lines[whole] = [ground.program("tmpshim"), "run", "--", *program]

    def one(way):
        begin = time.monotonic_ns()
        status = subprocess.call(lines[way], env=ways.environment(ground, way), stdout=subprocess.DEVNULL)
        spent = time.monotonic_ns() - begin
        return spent / 1e6 if status == 0 else give_up(f"{way}: status {status}")

    raw = turns(ground.times(61), list(lines), one)
    results.bars("start", "A process's start and end", "ms", raw, drawn=True)
    what = "start and end of a process"
    results.against("start", f"{what}, {LIB}, against an empty preload", raw, LIB, NO_PRELOAD, None)
    for way in (LIB, NOTIFY, TRACE, whole):
        results.against("start", f"{what}, {way}, against proot", raw, way, PROOT, 1 / 3, key=way == NOTIFY)
        more = [a - b for a, b in zip(raw[way], raw[NATIVE])]
        results.goal("start", f"milliseconds that {what} take more, {way}", more, None, form="{:.2f}", key=way == whole)
