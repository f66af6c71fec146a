"""Holds the guides to what they say.

usage: guides.py check REPOSITORY LIST
       guides.py run REPOSITORY PAGE COMMAND...
       guides.py pages REPOSITORY

check: every link leads somewhere, every file and test that is named in backquotes is there, and every block that a reader
would type is either a transcript that `run` tries or stands in LIST (guides.toml) with the reason why it is not.

run: COMMAND is a shell that takes commands from descriptor 3, each ended by a NUL, and after each prints a NUL, the exit
status and a NUL. All transcripts of PAGE go through it, in their order. In what a page shows, a line `...` stands for any
lines, and `[..]` for anything within a line.

pages: prints the pages that have transcripts.
"""

import os
import re
import select
import subprocess
import sys
import time
import tomllib
from pathlib import Path

# Transcripts are `console`. What else a reader might type is `sh`. The rest is to be read.
SETUP = "setup"
LANGUAGES = {SETUP, "console", "sh", "text", "json", "ini", "yaml", "toml", "Dockerfile", "rust", "c", "diff"}
PROGRAMS = {"apt", "apt-get", "cargo", "cp", "curl", "docker", "dpkg", "install", "kubectl", "ls", "podman", "python3", "rm", "rpm"}
PROGRAMS |= {"runc", "systemctl", "tar", "tmpshim", "dist/tmpshim", "scripts/build", "scripts/dist", "scripts/test"}
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


# What `check` looks at.


def anchors(page):
    """What the headings of a page are called in links, as GitHub calls them."""
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("```"):
            inside = not inside
        elif not inside and re.match(r"#+ ", line):
            title = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line.lstrip("# ")).strip().lower()
            yield re.sub(r"[^\w\- ]", "", title).replace(" ", "-")


def prose(page):
    """(line number, text) of what stands outside of blocks."""
    inside = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            inside = not inside
        elif not inside:
            yield number, line


def dead_links(page):
    for number, line in prose(page):
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            leads_to = (page.parent / path).resolve() if path else page
            if not leads_to.exists():
                yield f"{page}:{number}: {target}: there is no such file"
            elif anchor and anchor not in set(anchors(leads_to)):
                yield f"{page}:{number}: {target}: there is no such heading"


def known_names(repository):
    """Names of tests: functions of the Rust tests, programs and scripts of the matrix."""
    names = set()
    for source in [*repository.glob("src/**/*.rs"), *repository.glob("c-tests/harness/src/*.rs")]:
        names |= set(re.findall(r"\bfn (\w+)\(", source.read_text(encoding="utf-8")))
    for kind in ("programs", "real"):
        names |= {path.stem for path in (repository / "c-tests" / kind).iterdir()}
    return names


def wrong_names(repository, page, names):
    """What is named as a proof and is not there. Only files of the rooms that the repository has, and names like d6_links."""
    for number, line in prose(page):
        for quoted in re.findall(r"`([^`]+)`", line):
            if re.fullmatch(r"(src|c-tests|scripts|deploy|docs)/[\w./-]+", quoted):
                if not (repository / quoted).exists():
                    yield f"{page}:{number}: {quoted}: there is no such file"
            elif re.fullmatch(r"[dst]\d?_[a-z0-9_]+", quoted) and quoted not in names:
                yield f"{page}:{number}: {quoted}: there is no such test"


def looks_typed(block):
    first = next((line for line in block.lines if line.strip()), "")
    words = first.removeprefix("$ ").removeprefix("sudo ").split(" ")
    return first.startswith("$ ") or bool(words and words[0] in PROGRAMS and len(words) > 1)


def unlisted(repository, listed):
    """Blocks that a reader would type and that nobody tries, unless they stand in the list, and what stands there in vain."""
    used = set()
    for page in markdown(repository):
        name = str(page.relative_to(repository))
        for block in blocks(page):
            where = f"{page}:{block.number}"
            if block.language not in LANGUAGES:
                yield f"{where}: a block of the language '{block.language}'; known are {', '.join(sorted(LANGUAGES))}"
            if block.language == "console" and not (block.lines and block.lines[0].startswith("$ ")):
                yield f"{where}: a transcript begins with a command, '$ …'"
            if block.language == "sh" or (block.language not in {SETUP, "console", "Dockerfile"} and looks_typed(block)):
                entry = (name, block.lines[0] if block.lines else "")
                if (name, "*") in listed:
                    entry = (name, "*")
                if entry not in listed:
                    yield f"{where}: '{entry[1]}' is neither a transcript (console) nor listed with a reason in guides.toml"
                used.add(entry)
    for page, begins in sorted(set(listed) - used):
        yield f"guides.toml: {page} has no block any more that begins with '{begins}'"


def check(repository, list_of_reasons):
    entries = tomllib.loads(Path(list_of_reasons).read_text(encoding="utf-8"))["not_run"]
    listed = {(entry["page"], entry["begins"]): entry["why"] for entry in entries}
    wrong = [f"guides.toml: {page}, '{begins}': no reason" for (page, begins), why in listed.items() if not why.strip()]
    names = known_names(repository)
    for page in markdown(repository):
        wrong += dead_links(page)
        if page.name in {"ARCHITECTURE.md", "CHANGELOG.md"}:
            continue
        wrong += wrong_names(repository, page, names)
    wrong += unlisted(repository, listed)
    return wrong


# What `run` does.


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
    os.chdir(repository)
    if mode == "pages":
        pages = (page for page in markdown(repository) if any(block.language == "console" for block in blocks(page)))
        print(*(page.relative_to(repository) for page in pages), sep="\n")
        return
    wrong = check(repository, rest[0]) if mode == "check" else run(repository / rest[0], rest[1:])
    for line in wrong:
        print(line.replace(f"{repository}/", ""), file=sys.stderr)
    sys.exit(bool(wrong))


main()
