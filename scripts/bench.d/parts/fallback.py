"""Standing in for O_TMPFILE, on filesystems that have none."""

import os

from ground import say
from samples import turns
from ways import LIB, NATIVE, NOTIFY, SHORT, TRACE, Workers

BY_HAND = "nothing, made and unlinked by hand"


def fallback(ground, results):
    for name in ("bindfs", "mergerfs"):
        point, why = ground.mount(name)
        what = f"O_TMPFILE open and close on {name}"
        if not point:
            results.skip("fallback", what, why)
            continue
        core = min(os.sched_getaffinity(0))
        with Workers(ground, (NATIVE, SHORT, LIB, NOTIFY, TRACE), [ground.program("batch")], core=core) as workers:
            if not isinstance(workers.ask(NATIVE, "tmpfile", 1, point, "0600"), str):
                results.skip("fallback", what, f"this {name} has O_TMPFILE")
                continue
            for mode in ("0600", "0644"):
                one_mode(ground, results, workers, name, point, mode)


def one_mode(ground, results, workers, name, point, mode):
    say(f"fallback on {name}, mode {mode}")
    count = ground.size(100, 10)

    def one(way):
        what = "by-hand" if way == NATIVE else "tmpfile"
        return workers.must(way, what, count, point, mode) / count

    raw = turns(ground.times(41), workers.ways, one)
    shown = {BY_HAND if way == NATIVE else way: values for way, values in raw.items()}
    results.bars("fallback", f"An O_TMPFILE open and close on {name}, mode {mode}", "ns", shown,
                 drawn=mode == "0600")
    what = f"O_TMPFILE open and close on {name}, mode {mode}"
    title = f"{what}, {LIB}, against the shortest C preload"
    results.against("fallback", title, raw, LIB, SHORT, 1.0, key=name == "bindfs")
    for way in (NOTIFY, TRACE):
        results.against("fallback", f"{what}, {way}, against a file made and unlinked by hand", raw, way, NATIVE, None)
