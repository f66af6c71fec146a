"""An injector (fail_at.c, fail_from_outside.c) at work: orders in, what became of them out."""

import subprocess
from dataclasses import dataclass, field

import calls


@dataclass(frozen=True)
class Call:
    """One call of one process."""
    process: int
    number: int
    nth: int
    owner: str
    path: str

    @property
    def name(self):
        return calls.NAMES[self.number]

    def __str__(self):
        path = "" if self.path == "-" else f"({self.path})"
        return f"{self.name}{path} #{self.nth} of process {self.process}"


@dataclass
class Run:
    """One run of the program."""
    end: str = ""
    # The path in the call that has failed, which several threads do not always make in the same order; none: it did not come.
    failed: str | None = None
    calls: list = field(default_factory=list)
    lines: list = field(default_factory=list)
    complaints: str = ""


class Injector:
    def __init__(self, tool, options, command, directory, scratch, environment):
        self.out, self.err = scratch / "out", scratch / "err"
        self.process = subprocess.Popen(
            [tool, *options, self.out, self.err, *command], cwd=directory, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _run(self, order):
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        run, seen = Run(), {}
        for line in self.process.stdout:
            word, *rest = line.split()
            if word == "end":
                run.end = " ".join(rest)
                break
            if word == "failed":
                run.failed = rest[3]
            else:
                process, number = int(rest[0]), int(rest[1])
                seen[process, number] = nth = seen.get((process, number), 0) + 1
                run.calls.append(Call(process, number, nth, rest[2], rest[3]))
        if not run.end:
            raise SystemExit(f"the injector has ended: {self.process.wait()}")
        run.lines = self.out.read_text(errors="replace").splitlines()
        run.complaints = self.err.read_text(errors="replace")
        return run

    def list(self):
        return self._run("0 0 0 0 0")

    def fail(self, call, error):
        ever = int(calls.is_for_ever(call.name, error))
        return self._run(f"{call.process} {call.number} {call.nth} {calls.number_of_errno(error)} {ever}")

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            raise SystemExit("the injector has failed")
