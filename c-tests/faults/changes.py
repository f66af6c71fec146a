"""Where a fault may change something: the [[change]] entries of scenarios.toml."""

import re


class Changes:
    def __init__(self, entries, filesystem):
        self.entries = [entry for entry in entries if filesystem in entry.get("filesystems", [filesystem])]
        self.used = [0] * len(entries)

    def _of(self, role, call, error):
        for number, entry in enumerate(self.entries):
            is_fault = call.name in entry["calls"] and error in entry.get("errnos", [error])
            if is_fault and role in entry.get("roles", [role]) and re.fullmatch(entry.get("path", ".*"), call.path):
                yield number, entry

    def allow_lines(self, role, call, error, lines, reference):
        """Whether the program may have seen these lines in the place of what is usual."""
        steps = [number for number, line in enumerate(reference) if re.fullmatch(r"\w+ (ok|E[A-Z0-9]+)", line)]
        if not steps:
            return False
        step = steps[-1]
        for number, entry in self._of(role, call, error):
            answers = [error if answer == "own" else answer for answer in entry.get("answer", [])]
            failed = [reference[:step] + [f"{reference[step].split()[0]} {answer}"] for answer in answers]
            other = reference[:step] + [f"{reference[step].split()[0]} ok", *entry.get("instead", "").split(", ")]
            if lines in [*failed, other]:
                self.used[number] += 1
                return True
        return False

    def allow_line(self, role, call, error, line):
        """Whether a program of many steps may print this."""
        for number, entry in self._of(role, call, error):
            if line in entry.get("anywhere", []):
                self.used[number] += 1
                return True
        return False

    def allow_end(self, role, call, error, end):
        """Whether the program may end so."""
        for number, entry in self._of(role, call, error):
            if entry.get("end") == end:
                self.used[number] += 1
                return True
        return False

    def allow_left(self, role, call, error, names):
        """Whether all these may be left after a sweep."""
        for number, entry in self._of(role, call, error):
            if "left" in entry and all(name.startswith(entry["left"]) for name in names):
                self.used[number] += 1
                return True
        return False
