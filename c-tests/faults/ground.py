"""Where the program runs, and what must be there afterwards: nothing, and a canary."""

import os
import pathlib
import subprocess


class Ground:
    def __init__(self, directory, scratch):
        self.run, self.canary, self.state = directory / "run", directory / "canary", scratch / "state"
        self.run.mkdir()
        (self.canary / "sub").mkdir(parents=True)
        self.state.mkdir(mode=0o700)
        (self.canary / "file").write_text("song")
        (self.canary / "sub/file").write_text("another song")
        self.picture = self._portrait()

    def _portrait(self):
        picture = []
        for path in sorted(self.canary.rglob("*")):
            status = path.lstat()
            picture.append((path, status.st_mode, status.st_uid, status.st_mtime_ns, path.is_file() and path.read_text()))
        return picture

    def canary_is_unharmed(self):
        return self._portrait() == self.picture

    def left(self):
        """Names of the program's or ours, and segments of shared memory."""
        segments = len(pathlib.Path("/proc/sysvipc/shm").read_text().splitlines()) - 1
        return [name for place in (self.run, self.state) for name in os.listdir(place)] + ["segment"] * segments

    def clear(self):
        """The next run begins with nothing, whatever was left."""
        left = self.left()
        if "segment" in left:
            subprocess.run(["ipcrm", "--all=shm"], check=True)
        for place in (self.run, self.state) if left else ():
            for name in os.listdir(place):
                subprocess.run(["rm", "-rf", place / name], check=True)
