"""What a fault is tried on, and what must come of it: a program with the library, `tmpshim sweep`, `tmpshim run`."""

import re
import subprocess

import calls


class Subject:
    """A program with the library in it."""

    def __init__(self, site, scenario):
        self.site, self.scenario, self.role = site, scenario, scenario["role"]
        self.name = scenario.get("name", self.role)
        self.reference = None
        self.tool = site.fail_at

    def options(self):
        always = self.scenario.get("always", {}).items()
        return ["-m"] + [f"-a{calls.NUMBERS[call]}={calls.number_of_errno(error)}" for call, error in always]

    def command(self):
        return [self.site.victim, self.role]

    def environment(self):
        return self.site.environment | {"LD_PRELOAD": self.site.library} | self.scenario.get("environment", {})

    def before(self):
        """What is to be there at the beginning of each run."""

    def is_ours(self, call):
        """Whether a call that was listed is one of ours."""
        return True

    def errnos_of(self, call):
        """What a call is to fail with, by name."""
        only = self.scenario.get("only", {}).get(call.name)
        return [name for name in calls.errnos_of(call.number) if only is None or name in only.split()]

    def role_of(self, call):
        """Who makes a call, for what is written down as a change."""
        return self.role

    def judge(self, run, call, error):
        """What is wrong with a run in which this call failed so; nothing, if all is as it must be."""
        fault, changes = (self.role, call, error), self.site.changes
        if run.end != self.reference.end and not changes.allow_end(*fault, run.end):
            return f"ends with {run.end}, not {self.reference.end}: {run.lines} {run.complaints}"
        if run.complaints:
            return f"said {run.complaints}"
        if run.lines != self.reference.lines and not changes.allow_lines(*fault, run.lines, self.reference.lines):
            return f"the program has seen {run.lines}"
        return None


class Sweep(Subject):
    """`tmpshim sweep` after processes that were killed. It may say that it could not do all."""

    def options(self):
        return []

    def command(self):
        return [self.site.tmpshim, "sweep", "--state-dir", self.site.ground.state]

    def environment(self):
        return self.site.environment

    def before(self):
        leave = [self.site.victim, "leave"]
        for _ in range(2):
            subprocess.run(leave, cwd=self.site.ground.run, env=Subject.environment(self), stdout=subprocess.DEVNULL)

    def judge(self, run, call, error):
        said = "".join(run.lines) + run.complaints
        # 127: libc's own start has failed.
        could_not = run.end in ("exit 1", "exit 127")
        if run.end != "exit 0" and not could_not and not self.site.changes.allow_end(self.role, call, error, run.end):
            return f"ends with {run.end}: {said}"
        left = self.site.ground.left()
        if run.end == "exit 0" and left and not self.site.changes.allow_left(self.role, call, error, left):
            return f"says that all is done: {said}; left: {left}"
        if could_not and not said:
            return "fails without a word"
        return None


class Run(Subject):
    """A static program below `tmpshim run`. It is not started at all, and that is said; or it comes to its end, and sees what
    the kernel answers without us wherever we could not answer."""

    # What the kernel says to its calls: of a file without a name, of a filter whose supervisor is gone.
    NATIVE = {"EOPNOTSUPP", "ENOENT", "ENOSYS"}

    def options(self):
        return [] if self.is_from_start() else super().options()

    def is_from_start(self):
        """Whether it is about what is done before the program begins, and by the front."""
        return self.scenario.get("from_start", False)

    def command(self):
        options = ["--engine", self.scenario["engine"], "--track", "*/tracked.*", "--state-dir", self.site.ground.state]
        return [self.site.tmpshim, "run", *options, "--", self.site.static_victim, "whole"]

    def environment(self):
        # Who has a state directory in the environment may be of the family, for a sweep: the injector must not.
        return {name: value for name, value in self.site.environment.items() if name != "TMPSHIM_STATE_DIR"}

    def is_ours(self, call):
        # While the program runs, the front, process 1, only waits for news.
        is_meant = call.process != 1 or self.is_from_start()
        return call.owner == "tmpshim" and is_meant and call.name not in self.scenario["without"]

    def judge(self, run, call, error):
        said = f"{run.lines} {run.complaints}"
        is_said = re.search("^tmpshim: ", run.complaints, re.MULTILINE)
        # 127: libc's own start has failed.
        if not run.lines and re.fullmatch("exit 12[567]", run.end) and (is_said or run.end == "exit 127" and run.complaints):
            return None
        if self.is_from_start() and self.site.changes.allow_end("start", call, error, run.end):
            return None
        if run.end != "exit 0" or run.lines[-1:] != ["ends"]:
            return f"ends with {run.end}: {said}"
        for line in run.lines[:-1]:
            answer = line.split(" ", 1)[1]
            is_plain = answer in {"ok", error} | self.NATIVE or (call.name, line) == ("fchmod", "mode 600")
            if not is_plain and not self.site.changes.allow_line(self.role_of(call), call, error, line):
                return f"the program has seen {said}"
        return None


class TracedRun(Run):
    """The same with a tracer: its calls, and those of its parasite in the program's thread. Of a thread that is killed
    meanwhile (ESRCH) the program has ended. And glibc ends a process for a thread without rseq(2): a tracer takes along who
    maps memory for it in that moment."""

    def __init__(self, site, scenario):
        super().__init__(site, scenario)
        self.tool = site.fail_from_outside

    def environment(self):
        return super().environment() | self.scenario.get("environment", {})

    def is_ours(self, call):
        is_parasites = call.owner == "parasite" and call.name not in self.scenario["without"]
        return is_parasites or super().is_ours(call)

    def role_of(self, call):
        return "parasite" if call.owner == "parasite" else "tracer"

    def judge(self, run, call, error):
        may_be_killed = call.name == "rseq" or (call.name, error) == ("ptrace", "ESRCH")
        if may_be_killed and run.end == "signal 9":
            has_gone_on = run.complaints or run.lines != self.reference.lines[:len(run.lines)]
            return f"the program has seen {run.lines} {run.complaints}" if has_gone_on else None
        return super().judge(run, call, error)


KINDS = {"library": Subject, "sweep": Sweep, "run": Run, "traced run": TracedRun}
