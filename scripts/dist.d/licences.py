#!/usr/bin/env python3
"""Prints the licences of everything that is linked into dist/tmpshim, for the packages' THIRD-PARTY.txt.

usage: licences.py          (in the root of the repository; asks cargo, which has the sources after a build)
"""
import json
import pathlib
import re
import subprocess
import sys

TARGET = "x86_64-unknown-linux-gnu"
LINKED = ("tmpshim", "tmpshim-preload", "tmpshim-parasite")
WANTED = re.compile(r"^(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)", re.IGNORECASE)


def linked_packages():
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", TARGET]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    seen = set()
    todo = [id for id, package in packages.items() if package["name"] in LINKED]
    while todo:
        id = todo.pop()
        # A procedural macro works while the program is built and is not part of it.
        if id in seen or any("proc-macro" in target["kind"] for target in packages[id]["targets"]):
            continue
        seen.add(id)
        for dependency in nodes[id]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                todo.append(dependency["pkg"])
    members = set(metadata["workspace_members"])
    found = [packages[id] for id in seen - members]
    return sorted(found, key=lambda package: (package["name"], package["version"]))


def licence_files(package):
    folder = pathlib.Path(package["manifest_path"]).parent
    return sorted(path for path in folder.iterdir() if path.is_file() and WANTED.match(path.name))


def main():
    texts = {}
    print("The command tmpshim and the library libtmpshim.so contain the following, each under its own licence.")
    print("tmpshim is linked statically with the GNU C library as well (LGPL-2.1-or-later, see the end), and with the")
    print("Rust standard library (MIT OR Apache-2.0, https://www.rust-lang.org) and GCC's run-time library (GPL-3.0-or-later")
    print("with the GCC Runtime Library Exception).\n")
    for package in linked_packages():
        licence = package["license"]
        if not licence:
            sys.exit(f"licences.py: {package['name']} names no licence in its Cargo.toml: look at it before it is shipped")
        print(f"{package['name']} {package['version']}: {licence}")
        print(f"    {package['repository'] or 'https://crates.io/crates/' + package['name']}")
        for path in licence_files(package):
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            # The same text with other line breaks is the same text.
            number = texts.setdefault(" ".join(text.split()), (len(texts) + 1, text))[0]
            print(f"    {path.name}: text {number}")
    for number, text in texts.values():
        print(f"\n{'=' * 30} text {number} {'=' * 30}\n\n{text}")
    print(f"\n{'=' * 30} the GNU C library {'=' * 30}\n")
    print("Its sources are those of the distribution that the file was built on (https://www.gnu.org/software/libc/). Its")
    print("licence lets you link tmpshim with a changed C library: scripts/build does that, from tmpshim's sources.")


main()
