"""Giving an O_TMPFILE file a name, by its size: natively, and where it stands in for one (always, here) with a copy or,
on btrfs and xfs, a clone."""

import os

from figures import counted
from ground import say
from samples import turns
from ways import LIB, NATIVE, NOTIFY, TRACE, Workers

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
COPY, REFLINK = "a copy by hand", "a clone by hand"


def publish(ground, results):
    for name in ("btrfs", "xfs", "ext4", "bindfs"):
        point, why = ground.mount(name)
        if point:
            on(ground, results, name, point)
        else:
            results.skip("publish", f"publishing on {name}", why)


def sizes(ground, point):
    """Those that fit: the largest lies there three times, and where there is a server, also in its memory."""
    wanted = (KIB, MIB) if ground.is_quick else (KIB, 32 * KIB, MIB, 32 * MIB, GIB)
    with open("/proc/meminfo", encoding="utf-8") as text:
        free = {line.split(":")[0]: int(line.split()[1]) * KIB for line in text}["MemAvailable"]
    below = os.statvfs(point)
    return [size for size in wanted if 3 * size < below.f_bavail * below.f_frsize and 6 * size < free]


def on(ground, results, name, point):
    ours = (LIB, NOTIFY, TRACE)
    # A static setting of the library; a flag of the supervisors.
    with Workers(
        ground, (NATIVE, *ours), [ground.program("batch")], options=["--tmpfile", "always"], TMPSHIM_TMPFILE="always"
    ) as workers:
        curves = {}
        has_clones = not isinstance(workers.ask(NATIVE, "reflink", 1, point, KIB), str)
        is_native = not isinstance(workers.ask(NATIVE, "publish", 1, point, KIB), str)
        what = {NATIVE: (NATIVE, "publish"), COPY: (NATIVE, "copy"), REFLINK: (NATIVE, "reflink")}
        what |= {way: (way, "publish") for way in ours} | {f"{LIB}, just written": (LIB, "publish-fresh")}
        if not has_clones:
            del what[REFLINK]
        if not is_native:
            del what[NATIVE]
        for size in sizes(ground, point):
            say(f"publishing {counted(size, 'bytes')} on {name}")
            count = max(1, min(20, 4 * MIB // size)) if not ground.is_quick else 1

            def one(which, size=size, count=count):
                way, do = what[which]
                return workers.must(way, do, count, point, size) / count / 1e6

            # Each of them has to be written first.
            is_large = size == GIB
            shown = [which for which in what if not is_large or which in (COPY, REFLINK, LIB)]
            raw = turns(ground.times(3 if is_large else 11), shown, one, 30 if is_large else 15, not is_large)
            for which, values in raw.items():
                curves.setdefault(which, []).append((size, values))
            if size in (KIB, MIB, GIB):
                title = f"publishing {counted(size, 'bytes')} on {name}, {LIB}, against a copy by hand"
                results.against("publish", title, raw, LIB, COPY, None, key=size == GIB and name == "btrfs")
                if has_clones:
                    results.against("publish", title.replace(COPY, REFLINK), raw, LIB, REFLINK, None)
    for which, points in curves.items():
        results.curve("publish", f"Publishing a file on {name}", "bytes", "ms", which, points)
