"""Holds the guides to what they say, as far as that shows without running anything.

usage: guides_check.py REPOSITORY LIST

Every link must lead somewhere, every file and test that is named in backquotes be there, and every block that a reader would
type be either a transcript, which guides.py runs, or stand in LIST (guides.toml) with the reason why it is not.
"""

import re
import sys
import tomllib
from pathlib import Path

from guides import SETUP, blocks, markdown

# Transcripts are `console`. What else a reader might type is `sh`. The rest is to be read.
LANGUAGES = {SETUP, "console", "sh", "text", "json", "ini", "yaml", "toml", "Dockerfile", "rust", "c", "diff"}
PROGRAMS = {"apt", "apt-get", "cargo", "cp", "curl", "docker", "dpkg", "install", "kubectl", "ls", "podman", "python3", "rm", "rpm"}
PROGRAMS |= {"runc", "systemctl", "tar", "tmpshim", "dist/tmpshim", "scripts/build", "scripts/dist", "scripts/test"}
# A label and a few words, or a sentence; but no metric's name.
NAMES_A_TEST = re.compile(r"[dst]\d?_[a-z0-9_]+|(?!tmpshim_)[a-z0-9]+(_[a-z0-9]+){3,}")


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
    """What is named as a proof and is not there: files of the rooms that the repository has, and tests."""
    for number, line in prose(page):
        for quoted in re.findall(r"`([^`]+)`", line):
            if re.fullmatch(r"(src|c-tests|scripts|deploy|docs)/[\w./-]+", quoted):
                if not (repository / quoted).exists():
                    yield f"{page}:{number}: {quoted}: there is no such file"
            elif NAMES_A_TEST.fullmatch(quoted) and quoted not in names:
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


def main():
    repository = Path(sys.argv[1]).resolve()
    wrong = check(repository, sys.argv[2])
    for line in wrong:
        print(line.replace(f"{repository}/", ""), file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
