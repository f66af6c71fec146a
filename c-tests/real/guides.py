"""Runs the transcripts of a guide.

usage: guides.py pages REPOSITORY
       guides.py run REPOSITORY PAGE COMMAND...

pages: prints the pages that have transcripts.

run: COMMAND is a shell that takes commands from descriptor 3, each ended by a NUL, and after each prints a NUL, the exit
status and a NUL. All transcripts of PAGE go through it, in their order. In what a page shows, a line `...` stands for any
lines, and `[..]` for anything within a line. What makes the trouble that a page is about stands in a comment, `<!-- setup`,
its commands, `-->`, which must succeed.
"""

import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

SETUP = "setup"
PATIENCE = 60
LOG = '{"time":'


class Block:
    """A fenced block: where it stands, its language and its lines."""

    def __init__(self, page, number, language):
        self.page, self.number, self.language, self.lines = page, number, language, []


def blocks(page):
    """The fenced blocks of a page, which are indented in a list item, and the comments with what makes the trouble."""
    block, indent = None, ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.fullmatch(r"( *)```(\S*)", line)
        if block is None and line == "<!-- setup":
            block, indent = Block(page, number, SETUP), ""
        elif block is None and fence:
            block, indent = Block(page, number, fence[2]), fence[1]
        elif block is not None and (line == "-->" if block.language == SETUP else fence):
            yield block
            block = None
        elif block is not None:
            block.lines.append(line.removeprefix(indent))
    if block is not None:
        sys.exit(f"{page}:{block.number}: the block has no end")


def markdown(repository):
    return [*sorted(repository.glob("*.md")), *sorted((repository / "docs").glob("*.md"))]


def commands(block):
    """(line number, command, the lines it is said to print) of a transcript."""
    found = []
    for offset, line in enumerate(block.lines, 1):
        if line.startswith("$ "):
            found.append((block.number + offset, [line[2:]], []))
        elif not found[-1][2] and line.startswith("> "):
            found[-1][1].append(line[2:])
        else:
            found[-1][2].append(line)
    return [(number, "\n".join(command), shown) for number, command, shown in found]


def as_shown(shown, printed):
    """Whether a page shows what was printed. The supervisor writes its log while the program goes on, so the log's lines may
    come anywhere between the program's."""
    both = [([line for line in lines if line.startswith(LOG)], [line for line in lines if not line.startswith(LOG)])
            for lines in (shown, printed)]
    return all(matches(*pair) for pair in zip(*both))


def matches(shown, printed):
    """Whether the lines printed are those shown."""
    if not shown:
        return not printed
    if shown[0] == "...":
        return any(matches(shown[1:], printed[skipped:]) for skipped in range(len(printed) + 1))
    if not printed:
        return False
    pattern = ".*".join(re.escape(part) for part in shown[0].rstrip().split("[..]"))
    return bool(re.fullmatch(pattern, printed[0].rstrip())) and matches(shown[1:], printed[1:])


class Shell:
    """The one shell of a page."""

    def __init__(self, command):
        reader, self.to_shell = os.pipe()
        self.process = subprocess.Popen(
            ["bash", "-c", 'exec 3<&"$0" "$@"', str(reader), *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=[reader],
        )
        os.close(reader)
        self.heard = b""
        self.status = None

    def run(self, command):
        """What it printed, or None if it did not come to its end."""
        try:
            os.write(self.to_shell, command.encode() + b"\0")
        except BrokenPipeError:
            return None
        deadline = time.monotonic() + PATIENCE
        while self.heard.count(b"\0") < 2:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            heard = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not heard:
                return None
            self.heard += heard
        before, status, self.heard = self.heard.split(b"\0", 2)
        self.status = int(status)
        return before.decode(errors="replace")

    def end(self):
        os.close(self.to_shell)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def told(title, lines):
    return "\n".join([f"  {title}:", *(f"    {line}" for line in lines[:60] or ["(nothing)"])])


def set_up(shell, block):
    """What is wrong, or nothing."""
    printed = shell.run("\n".join(["( set -e", *block.lines, ")"]))
    if printed is not None and shell.status == 0:
        return None
    lines = (printed if printed is not None else shell.heard.decode(errors="replace")).splitlines()
    return f"{block.page}:{block.number}: what makes the trouble fails\n{told('printed', lines)}"


def show(shell, block):
    """The first thing that is not as the block says, or nothing."""
    for number, typed, shown in commands(block):
        printed = shell.run(typed)
        lines = (printed if printed is not None else shell.heard.decode(errors="replace")).splitlines()
        if printed is None or not as_shown(shown, lines):
            verdict = "does not end" if printed is None else "does not print what the page shows"
            what = f"{block.page}:{number}: {verdict}\n{told('command', typed.splitlines())}"
            return f"{what}\n{told('the page', shown)}\n{told('printed', lines)}"
    return None


def run(page, command):
    """The first thing that is not as the page says, or nothing: what comes after it rests on it."""
    shell = Shell(command)
    tries = {SETUP: set_up, "console": show}
    try:
        for block in blocks(page):
            wrong = tries[block.language](shell, block) if block.language in tries else None
            if wrong:
                return [wrong]
    finally:
        shell.end()
    return []


def main():
    mode, repository, *rest = sys.argv[1:]
    repository = Path(repository).resolve()
    if mode == "pages":
        pages = (page for page in markdown(repository) if any(block.language == "console" for block in blocks(page)))
        print(*(page.relative_to(repository) for page in pages), sep="\n")
        return
    wrong = run(repository / rest[0], rest[1:])
    for line in wrong:
        print(line.replace(f"{repository}/", ""), file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
