"""The ways to run a program: as it is, with what is compared, and with tmpshim."""

import shutil
import subprocess

from ground import EMPTY, LIBRARY, SHORTEST, give_up

NATIVE, CONTROL = "nothing", "nothing, once more"
LIB, NOTIFY, TRACE = "tmpshim, library", "tmpshim run, notify", "tmpshim run, trace"
NO_PRELOAD, SHORT, EATMYDATA, FAKEROOT = "an empty preload", "the shortest C preload", "libeatmydata", "fakeroot"
ALLOW, PROOT, STRACE, STRACE_BPF = "a filter that allows everything", "proot", "strace -f", "strace -f --seccomp-bpf"
# In the order of the tables. The slow ones take up to a hundred times as long.
ALL = (NATIVE, NO_PRELOAD, SHORT, LIB, EATMYDATA, FAKEROOT, ALLOW, NOTIFY, TRACE, PROOT, STRACE_BPF, STRACE)
SLOW = (PROOT, STRACE)
PRELOADS = {NO_PRELOAD: EMPTY, SHORT: SHORTEST, LIB: LIBRARY, EATMYDATA: "libeatmydata.so"}


def line(ground, way, program, options=()):
    """What starts a program in this way; `options` are those of `tmpshim run`."""
    traced = "trace=open,openat,openat2,linkat,mkdir,mkdirat"
    front = {
        FAKEROOT: ["fakeroot", "--"],
        ALLOW: [ground.program("allow")],
        NOTIFY: [ground.program("tmpshim"), "run", "--engine", "notify", *options, "--"],
        TRACE: [ground.program("tmpshim"), "run", "--engine", "trace", *options, "--"],
        PROOT: ["proot"],
        STRACE: ["strace", "-f", "-o", "/dev/null"],
        STRACE_BPF: ["strace", "-f", "--seccomp-bpf", "-e", traced, "-o", "/dev/null"],
    }
    return [*front.get(way, []), *program]


def missing(ground, ways):
    """Which of these this machine has not, with the reason."""
    lacks = {}
    for way in ways:
        command = line(ground, way, [])[:1]
        if command and not shutil.which(command[0]):
            lacks[way] = f"{command[0]} is not installed"
    if EATMYDATA in ways and not shutil.which("eatmydata"):
        lacks[EATMYDATA] = "libeatmydata is not installed"
    return lacks


def environment(ground, way, **more):
    return ground.environment(PRELOADS.get(way), **more)


class Workers:
    """One program, started in several ways, all alive at once, so that they can be asked in turn."""

    def __init__(self, ground, ways, program, options=(), core=None, **more):
        # Where a program and a server run decides more than what they do.
        place = [] if core is None else ["taskset", "--cpu-list", str(core)]
        self.ways = [way for way in ways if way not in missing(ground, ways)]
        self.children = {
            way: subprocess.Popen(
                [*place, *line(ground, way, program, options)], env=environment(ground, way, **more), text=True,
                bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
            for way in self.ways
        }

    def ask(self, way, *words):
        """The answer to a line: a number, or words where it went wrong."""
        child = self.children[way]
        child.stdin.write(" ".join(map(str, words)) + "\n")
        answer = child.stdout.readline().strip()
        return int(answer) if answer.isdigit() else answer or "the program has ended"

    def must(self, way, *words):
        answer = self.ask(way, *words)
        if isinstance(answer, str):
            give_up(f"{way}: {' '.join(map(str, words))}: {answer}")
        return answer

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for way, child in self.children.items():
            child.stdin.close()
            if child.wait() != 0 and kind is None:
                give_up(f"{way}: {child.args[0]}: status {child.returncode}")
