"""Measures, for scripts/bench. Not to be called by hand: what it needs is built and mounted there.

Every number is a ratio of two things measured in turn, in one run, on one machine; the median of the pairs is what counts,
so that a machine that is busy with something else shifts both. Instructions are counted, not timed.
"""

import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

SHIM, EMPTY, SHORTEST = "shim", "empty", "shortest"
NATIVE, SUPERVISED, TRACED, ALLOW, PROOT, STRACE = (
    "native", "supervised", "traced", "a filter that allows everything", "proot", "strace -f"
)
PRELOADS = ("LD_PRELOAD", "TMPSHIM")


def say(*words):
    print("bench:", *words, file=sys.stderr, flush=True)


class Bench:
    def __init__(self, built, tmpfs, disk, bindfs, distant):
        self.built, self.tmpfs, self.disk, self.bindfs, self.distant = built, tmpfs, disk, bindfs, distant
        self.rows = []

    def program(self, name):
        return os.path.join(self.built, name)

    def environment(self, preload=None):
        """No setting of the caller's, and the preloads all under paths of one length: ld.so copies them."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(PRELOADS)}
        kept["TMPSHIM_STATE_DIR"] = os.path.join(self.tmpfs, "state")
        if preload:
            kept["LD_PRELOAD"] = os.path.join(self.built, preload.ljust(8, "_"), "libtmpshim.so")
        return kept

    def row(self, what, unit, measured, goal, raw):
        """A line of the table. A goal is the largest value that is good; None where there is none."""
        met = None if goal is None else measured <= goal
        self.rows.append({"what": what, "unit": unit, "measured": measured, "goal": goal, "met": met, "raw": raw})

    def skip(self, what, why):
        self.rows.append({"what": what, "skipped": why, "met": None})

    # Instructions, by callgrind.

    def instructions(self, preload, *command):
        out = os.path.join(self.tmpfs, "callgrind.out")
        subprocess.run(
            ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", *command],
            env=self.environment(preload), check=True, stdout=subprocess.DEVNULL,
        )
        with open(out, encoding="utf-8", errors="replace") as text:
            total = int(re.search(r"^(?:totals|summary): (\d+)$", text.read(), re.M).group(1))
        os.unlink(out)
        return total

    def opens(self):
        few = 5000
        for door in ("open", "openat", "open64"):
            say(f"instructions of {door}")
            raw = {
                preload: [self.instructions(preload, self.program("opens"), door, str(n)) for n in (few, 2 * few)]
                for preload in (EMPTY, SHIM)
            }
            one = {preload: (twice - once) / few for preload, (once, twice) in raw.items()}
            self.row(f"instructions added to an ordinary `{door}`", "", one[SHIM] - one[EMPTY], 20, raw)

    def start(self):
        say("instructions at start")
        raw = {preload: self.instructions(preload, self.program("start")) for preload in (EMPTY, SHIM)}
        self.row("instructions added from a process's start to its end", "", raw[SHIM] - raw[EMPTY], 20000, raw)

    # A fallback open, on bindfs.

    def fallback(self):
        what = "O_TMPFILE open and close on bindfs, mode {}, against the shortest preload in C"
        modes = (("0600", 1.15), ("0644", None))
        if not os.path.isdir(self.bindfs):
            for mode, _ in modes:
                self.skip(what.format(mode), self.bindfs)
            return

        def begin(preload):
            child = subprocess.Popen(
                [self.program("tmpfiles"), self.bindfs], env=self.environment(preload), text=True, bufsize=1,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
            # Where a program and the server run decides more than what they do: all these run in one place.
            os.sched_setaffinity(child.pid, {min(os.sched_getaffinity(0))})
            return child, child.stdout.readline().strip()

        def finish(child):
            child.stdin.close()
            if child.wait() != 0:
                sys.exit("bench: an O_TMPFILE open on bindfs failed")

        control, answer = begin(None)
        finish(control)
        if answer == "works":
            for mode, _ in modes:
                self.skip(what.format(mode), "this bindfs has O_TMPFILE")
            return
        children = {preload: begin(preload) for preload in (SHORTEST, SHIM)}
        for preload, (_, answer) in children.items():
            if answer != "works":
                sys.exit(f"bench: O_TMPFILE on bindfs with {preload}: {answer}")

        def batch(preload, count, mode):
            child = children[preload][0]
            child.stdin.write(f"{count} {mode}\n")
            return int(child.stdout.readline())

        for mode, goal in modes:
            say(f"fallback on bindfs, mode {mode}")
            for preload in children:
                batch(preload, 200, mode)
            raw = turns(31, [SHORTEST, SHIM], lambda preload, mode=mode: batch(preload, 250, mode) / 250)
            self.row(what.format(mode), "times", ratio(raw, SHIM, SHORTEST), goal, {"ns": raw})
        for child, _ in children.values():
            finish(child)

    # A static Go program, which no library reaches.

    def supervised(self):
        """Starts it in each way there is, all at once, and has them work in turn."""
        program = self.program("calls")
        if not os.path.exists(program):
            self.skip("a static Go program under the supervisor", "no go here")
            return
        def run(engine):
            return [self.program("tmpshim"), "run", "--engine", engine, "--", program]

        lines = {NATIVE: [program], SUPERVISED: run("notify"), TRACED: run("trace"), ALLOW: [self.program("allow"), program], PROOT: ["proot", program],
                 STRACE: ["strace", "-f", "-o", "/dev/null", program]}
        children = {
            which: subprocess.Popen(line, env=self.environment(), text=True, bufsize=1, stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE)
            for which, line in lines.items() if shutil.which(line[0])
        }

        def one(which, what, count, top, threads=1):
            """Nanoseconds, or why there are none."""
            children[which].stdin.write(f"{what} {count} {threads} {top}\n")
            answer = children[which].stdout.readline().strip()
            return int(answer) / count if answer.isdigit() else answer

        def must(*what):
            answer = one(*what)
            if isinstance(answer, str):
                sys.exit(f"bench: {' '.join(map(str, what))}: {answer or 'the program has ended'}")
            return answer

        self.starts(run)
        self.calls(children, must)
        self.files(children, one, must)
        self.threads(must)
        for which, child in children.items():
            child.stdin.close()
            if child.wait() != 0:
                sys.exit(f"bench: {which}: status {child.returncode}")

    def starts(self, run):
        """How long a program takes that ends at once: most of it is what goes on before that begins."""
        say("starts of a supervised program")
        program = self.program("start")
        lines = {NATIVE: [program], SUPERVISED: [*run("notify")[:-1], program], TRACED: [*run("trace")[:-1], program]}
        raw = turns(101, list(lines), lambda which: self.timed(lines[which], env=self.environment()))
        for which in (SUPERVISED, TRACED):
            more = statistics.median(raw[which]) - statistics.median(raw[NATIVE])
            self.row(f"milliseconds that a program's start and end take more, {which}", "number", more, None, {"ms": raw})

    def calls(self, children, must):
        """What is none of the supervisor's business."""
        for what, name, count in (("open", "ordinary open and close", 400), ("getppid", "getppid", 4000)):
            say(f"{what} in a supervised program")
            def batch(which, what=what, count=count):
                return must(which, what, count // (10 if which in (PROOT, STRACE) else 1), "-")

            raw = turns(501, [NATIVE, SUPERVISED, TRACED, ALLOW], batch)
            for which in (SUPERVISED, TRACED):
                self.row(f"{name} in a static Go program, {which}, against native", "times", ratio(raw, which, NATIVE), 1.05,
                         {"ns": raw})
            self.row(f"the same under {ALLOW}, against native", "times", ratio(raw, ALLOW, NATIVE), None, {"ns": raw})
            # Those take up to a hundred times as long.
            for which in (PROOT, STRACE):
                if which in children:
                    raw = turns(7, [NATIVE, which], batch)
                    self.row(f"the same under {which}, against native", "times", ratio(raw, which, NATIVE), None,
                             {"ns": raw})

    def files(self, children, one, must):
        """O_TMPFILE where the filesystem has it, and where it has not."""
        say("O_TMPFILE in a supervised program, tmpfs")
        what = f"O_TMPFILE open and close on {filesystem(self.tmpfs)} in a static Go program"
        those = [which for which in children if which != ALLOW]
        raw = turns(31, those, lambda which: must(which, "tmpfile", 400, self.tmpfs))
        microseconds = {which: statistics.median(times) / 1000 for which, times in raw.items()}
        note = ", ".join(f"{which} {spent:.0f}" for which, spent in microseconds.items())
        if PROOT in raw:
            self.row(f"{what}, supervised, against proot (µs: {note})", "times", ratio(raw, SUPERVISED, PROOT), 1 / 3,
                     {"ns": raw})
            self.row(f"{what}, traced, against proot", "times", ratio(raw, TRACED, PROOT), None, {"ns": raw})
        else:
            self.skip(f"{what}, supervised, against proot", "no proot here")
        for which in (SUPERVISED, TRACED):
            self.row(f"{what}, {which}, against native", "times", ratio(raw, which, NATIVE), None, {"ns": raw})
        what = "O_TMPFILE open and close on bindfs in a static Go program, {}, against a file made and unlinked by hand, native"
        if not os.path.isdir(self.bindfs):
            self.skip(what.format(SUPERVISED), self.bindfs)
        elif not isinstance(one(NATIVE, "tmpfile", 1, self.bindfs), str):
            self.skip(what.format(SUPERVISED), "this bindfs has O_TMPFILE")
        else:
            say("O_TMPFILE in a supervised program, bindfs")
            how = {NATIVE: "by-hand", SUPERVISED: "tmpfile", TRACED: "tmpfile"}
            raw = turns(31, [NATIVE, SUPERVISED, TRACED], lambda which: must(which, how[which], 200, self.bindfs))
            for which in (SUPERVISED, TRACED):
                self.row(what.format(which), "times", ratio(raw, which, NATIVE), None, {"ns": raw})

    def threads(self, must):
        """Whether those who open at the same time wait for each other: the time of as many files."""
        places = (
            (filesystem(self.tmpfs), self.tmpfs, 800, None),
            ("bindfs", self.bindfs, 400, None),
            ("bindfs with 2 ms for each file it creates", self.distant, 64, 0.25),
        )
        for name, top, count, goal in places:
            for which in (SUPERVISED, TRACED):
                what = f"O_TMPFILE opens by 8 threads of a {which} program, {name}, against 1 thread's as many"
                if not os.path.isdir(top):
                    self.skip(what, self.bindfs)
                    continue
                say(f"8 threads of a {which} program on {name}")

                def batch(threads, which=which, top=top, count=count):
                    return must(which, "tmpfile", count, top, threads)

                raw = turns(9, [1, 8], batch)
                self.row(what, "times", ratio(raw, 8, 1), goal, {"ns": raw})

    # Temporary directories.

    def make(self, preload, top, count, *file):
        """Makes the directories; the nanoseconds of one, and those from just before exit() until it was over."""
        os.mkdir(top)
        child = subprocess.Popen(
            [self.program("mkdtemps"), top, str(count), *file], env=self.environment(preload), stdout=subprocess.PIPE,
        )
        _, status = os.waitpid(child.pid, 0)
        end = time.monotonic_ns()
        child.returncode = os.waitstatus_to_exitcode(status)
        making, before = map(int, child.stdout.read().split())
        child.stdout.close()
        left = len(os.listdir(top))
        killed = "killed" in file
        if child.returncode != (-signal.SIGKILL if killed else 0) or left != (0 if preload and not killed else count):
            sys.exit(f"bench: {count} directories were made, {left} are there, status {child.returncode}")
        return making / count, end - before

    def mkdtemp(self):
        say("mkdtemp")
        top = os.path.join(self.tmpfs, "made")

        def one(preload):
            each, _ = self.make(preload if preload == SHIM else None, top, 5000)
            shutil.rmtree(top)
            return each

        raw = turns(31, ["untracked", SHIM], one)
        what = f"mkdtemp on {filesystem(top)}, tracked, against no preload"
        self.row(what, "times", ratio(raw, SHIM, "untracked"), 1.5, {"ns": raw})

        def first(preload):
            each, _ = self.make(preload if preload == SHIM else None, top, 1)
            shutil.rmtree(top)
            return each / 1000

        raw = turns(101, ["untracked", SHIM], first)
        more = statistics.median(raw[SHIM]) - statistics.median(raw["untracked"])
        self.row("microseconds that the first mkdtemp of a process takes more, journal and handlers", "number", more, None,
                 {"us": raw})

    def timed(self, command, status=0, **how):
        """How many milliseconds a command takes."""
        start = time.monotonic_ns()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, **how)
        answer = child.wait()
        spent = time.monotonic_ns() - start
        if answer != status:
            sys.exit(f"bench: {command[0]}: status {answer}")
        return spent / 1e6

    def sweep(self):
        count = 10000
        for where in (self.tmpfs, self.disk):
            for kind, file in (("empty", ()), ("one file in each", ("file",))):
                top = os.path.join(where, "made")
                name = filesystem(top)
                say(f"sweep on {name}, {kind}")

                def one(which, top=top, file=file):
                    self.make(SHIM if which == SHIM else None, top, count, *file, "killed")
                    if which == SHIM:
                        state = self.environment()["TMPSHIM_STATE_DIR"]
                        spent = self.timed([self.program("tmpshim"), "sweep", "--state-dir", state])
                        os.rmdir(top)
                        return spent
                    return self.timed(["rm", "-rf", top])

                raw = turns(15, ["rm", SHIM], one, 40)
                what = f"`tmpshim sweep` of {count:,} directories ({kind}) after SIGKILL, {name}, against `rm -rf`"
                self.row(what, "times", ratio(raw, SHIM, "rm"), 1.0, {"ms": raw})

    def removal(self):
        count = 10000
        for where in (self.tmpfs, self.disk):
            for kind, file in (("empty", ()), ("one file in each", ("file",))):
                top = os.path.join(where, "made")
                name = filesystem(top)
                say(f"removal on {name}, {kind}")

                def one(which, top=top, file=file):
                    if which == SHIM:
                        _, spent = self.make(SHIM, top, count, *file)
                        os.rmdir(top)
                        return spent / 1e6
                    self.make(None, top, count, *file)
                    start = time.monotonic_ns()
                    child = os.posix_spawnp("rm", ["rm", "-rf", top], os.environ)
                    _, status = os.waitpid(child, 0)
                    spent = time.monotonic_ns() - start
                    if status != 0 or os.path.exists(top):
                        sys.exit("bench: rm -rf left something")
                    return spent / 1e6

                raw = turns(15, ["rm", SHIM], one, 40)
                what = f"{count:,} directories ({kind}) removed at exit, {name}, against `rm -rf`"
                self.row(what, "times", ratio(raw, SHIM, "rm"), 1.0, {"ms": raw})


def turns(number, those, measure, seconds=None):
    """Measures them in turn, each of them first as often. The first round only warms up. Fewer rounds, but three, once the
    seconds are over: some disks take long to make ten thousand directories."""
    raw = {which: [] for which in those}
    start = time.monotonic()
    for index in range(number + 1):
        if seconds and index > 3 and time.monotonic() - start > seconds:
            break
        first = (index + 1) % len(those)
        for which in [*those[first:], *those[:first]]:
            value = measure(which)
            if index:
                raw[which].append(round(value, 3))
    return raw


def ratio(raw, above, below):
    return statistics.median(a / b for a, b in zip(raw[above], raw[below]))


def filesystem(path):
    while not os.path.exists(path):
        path = os.path.dirname(path)
    answer = subprocess.run(["stat", "-f", "-c", "%T", path], check=True, text=True, stdout=subprocess.PIPE)
    name = answer.stdout.strip()
    return "ext4" if name == "ext2/ext3" else name


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as text:
        found = re.search(r"^model name\s*: (.*)$", text.read(), re.M)
    return found.group(1) if found else platform.machine()


def main():
    built, tmpfs, disk, bindfs, distant, results, *only = sys.argv[1:]
    bench = Bench(built, tmpfs, disk, bindfs, distant)
    machine = {
        "kernel": platform.release(), "cpu": processor(), "cores": os.cpu_count(), "glibc": platform.libc_ver()[1],
        "load": os.getloadavg()[0],
    }
    print("tmpshim on Linux {kernel}, {cpu}, {cores} cores (load {load:.1f}), glibc {glibc}.".format(**machine))
    print("Instructions are counted by callgrind. Times are ratios of one run: medians of pairs, measured in turn.\n")
    parts = (bench.opens, bench.start, bench.fallback, bench.supervised, bench.mkdtemp, bench.removal, bench.sweep)
    for part in parts:
        if not only or part.__name__ in only:
            part()
    print("| what | measured | goal | verdict |\n|---|--:|--:|---|")
    for row in bench.rows:
        if "skipped" in row:
            print(f"| {row['what']} | – | – | skipped: {row['skipped']} |")
            continue
        form = "{:.2f} ×" if row["unit"] == "times" else "{:,.0f}"
        goal = "–" if row["goal"] is None else "≤ " + form.format(row["goal"])
        verdict = {None: "–", True: "met", False: "**missed**"}[row["met"]]
        print(f"| {row['what']} | {form.format(row['measured'])} | {goal} | {verdict} |")
    with open(results, "w", encoding="utf-8") as out:
        json.dump({"machine": machine, "rows": bench.rows}, out, indent=1)
        out.write("\n")
    sys.exit(0 if all(row["met"] is not False for row in bench.rows) else 1)


main()
