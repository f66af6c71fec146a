#!/usr/bin/python3 -B
"""usage: cell.py DIRECTORY GROUP

Each system call that tmpshim makes in the scenarios of a group (scenarios.toml) fails with each errno that it may fail with
(errnos.toml), once. Whatever fails, the program sees what it would have seen without us, or what is written down as a change;
nobody hangs or crashes; and after one `tmpshim sweep` nothing is left.

In the environment: FAULTS_ONLY=TEXT: only scenarios with this in their names; FAULTS_ALL: every pair also of those scenarios of
which otherwise only a share is tried.
"""

import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib

import calls
from changes import Changes
from ground import Ground
from injector import Injector
from subjects import KINDS

BESIDE = pathlib.Path(__file__).resolve().parent
PROMISES = BESIDE / "../../docs/limits.md"
ONLY, ALL = os.environ.get("FAULTS_ONLY", ""), "FAULTS_ALL" in os.environ


class Site:
    """What the scenarios of a cell share."""

    def __init__(self, directory, changes):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="tmpshim-faults-"))
        self.scratch.chmod(0o755)
        filesystem = os.environ["TMPSHIM_FS"]
        self.ground = Ground(directory, self.scratch)
        # FUSE releases a closed file behind the program's back.
        self.patience = 0 if filesystem == "tmpfs" else 4
        self.tmpshim, self.library = os.environ["TMPSHIM_BIN"], os.environ["TMPSHIM_LIBRARY"]
        self.changes = Changes(changes, filesystem)
        own = {name: value for name, value in os.environ.items() if not name.startswith("TMPSHIM")}
        self.environment = own | {"TMPSHIM_STATE_DIR": str(self.ground.state), "LC_ALL": "C.UTF-8"}
        if filesystem == "tmpfs":
            # It stands for a filesystem where an unlinked file is really gone.
            self.environment["TMPSHIM_TMPFILE"] = "always"
        self.fail_at = self._build("fail_at", "fail_at.c", "-static")
        self.fail_from_outside = self._build("fail_from_outside", "fail_from_outside.c", "-static")
        self.victim = self._build("victim", "victim.c")
        self.static_victim = self._build("victim-static", "victim.c", "-static")

    def _build(self, name, source, *options):
        output = self.scratch / name
        flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror"]
        subprocess.run(["gcc", *flags, *options, "-o", output, BESIDE / source], check=True)
        return output

    def sweep(self):
        return subprocess.run([self.tmpshim, "sweep", "--state-dir", self.ground.state], capture_output=True, text=True)

    def what_is_left(self, role, call, error):
        """What is wrong with what is there after a sweep."""
        if self.ground.left():
            swept = self.sweep()
            deadline = time.monotonic() + self.patience
            while (left := self.ground.left()) and not (allowed := self.changes.allow_left(role, call, error, left)):
                if time.monotonic() > deadline:
                    break
                time.sleep(0.005)
                swept = self.sweep()
            if left and not allowed:
                return f"left: {left}; {swept.stdout}{swept.stderr}"
        return None if self.ground.canary_is_unharmed() else "the canary was touched"

    def close(self):
        for place in (self.scratch, self.ground.run, self.ground.canary):
            shutil.rmtree(place)


class Tally:
    def __init__(self):
        self.pairs = self.missed = self.failures = 0
        self.kinds = set()


def try_one(site, subject, injector, call, error):
    """What is wrong; nothing, if all is well. None of both, "missed", where the call did not come."""
    # Several processes do not always take the same way.
    for _ in range(3):
        subject.before()
        run = injector.fail(call, error)
        if run.failed is not None:
            call = dataclasses.replace(call, path=run.failed)
            break
        site.ground.clear()
    else:
        return "missed"
    if run.end == "hangs":
        wrong = f"hangs: {run.lines} {run.complaints}"
    else:
        wrong = subject.judge(run, call, error) or site.what_is_left(subject.role_of(call), call, error)
    site.ground.clear()
    return wrong


def try_all(site, subject, tally):
    injector = Injector(subject.tool, subject.options(), subject.command(), site.ground.run, site.scratch, subject.environment())
    begin, before = time.monotonic(), tally.pairs
    subject.before()
    subject.reference = injector.list()
    site.sweep()
    site.ground.clear()
    ours = filter(subject.is_ours, subject.reference.calls)
    pairs = [(call, error) for call in ours for error in subject.errnos_of(call)]
    for call, error in pairs[::1 if ALL else subject.scenario.get("share", 1)]:
        wrong = try_one(site, subject, injector, call, error)
        if wrong == "missed":
            tally.missed += 1
            continue
        tally.pairs += 1
        tally.kinds.add((call.name, error))
        if wrong:
            tally.failures += 1
            print(f"FAILED {subject.name}: {call} {error}: {wrong}", flush=True)
    injector.close()
    print(f"{subject.name}: {tally.pairs - before} pairs, {time.monotonic() - begin:.1f} s", flush=True)


def promised(group):
    """How many pairs the documentation promises for this cell."""
    row = re.compile(rf"^\| `{group}` on {os.environ['TMPSHIM_FS']} \|.*\| ([0-9,]+) \|$", re.MULTILINE)
    return int(row.search(PROMISES.read_text())[1].replace(",", ""))


def main(directory, group):
    table = tomllib.loads((BESIDE / "scenarios.toml").read_text())
    site, tally = Site(pathlib.Path(directory).resolve(), table["change"]), Tally()
    for scenario in table[group]:
        subject = KINDS[scenario.get("kind", "library")](site, scenario)
        if ONLY in subject.name:
            try_all(site, subject, tally)
    site.close()
    print(f"{tally.pairs} pairs, {len(tally.kinds)} kinds, {tally.missed} missed, {tally.failures} failures")
    if not ONLY and tally.pairs < promised(group):
        print(f"docs/limits.md promises {promised(group)} pairs")
        return 1
    # Of several processes some do not always take the same way; most do.
    return int(tally.failures > 0 or tally.missed > tally.pairs // 50)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("needs root: namespaces of its own")
        sys.exit(77)
    if not os.environ.get("IN_NAMESPACES"):
        # Only these processes are looked at by a sweep, and only their shared memory counts.
        os.environ["IN_NAMESPACES"] = "yes"
        own = ["--mount", "--ipc", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
        os.execvp("unshare", ["unshare", *own, "--", *sys.argv])
    sys.exit(main(*sys.argv[1:3]))
