"""What is written: tables in Markdown, between markers where they go into a page, and every sample as JSON."""

import json
import math
import re

from figures import counted, three
from pictures import file_name
from samples import quartiles

VERDICTS = {None: "–", True: "met", False: "**missed**"}


def head(machine):
    return (
        "On Linux {kernel}, {cores} cores of an {cpu}, {memory}, glibc {glibc}; load {load} at the start. Instructions are "
        "counted by callgrind; times are medians of samples taken in turn, ratios those of pairs. In brackets the first and "
        "third quartile."
    ).format(**machine)


def spread(form, low, middle, high, number):
    if number == 1:
        return form.format(middle)
    # The unit once.
    bare = form.replace(" ×", "")
    return f"{form.format(middle)} ({bare.format(low)}–{bare.format(high)})"


def goals(results, only_key=False, part=None):
    """The table of goals."""
    lines = ["| what | measured | goal | verdict |", "|---|--:|--:|---|"]
    for goal in results.goals:
        if (only_key and not goal["key"]) or (part and goal["part"] != part):
            continue
        sign = "≤" if goal["at_most"] else "≥"
        limit = "–" if goal["limit"] is None else f"{sign} {goal['form'].format(goal['limit'])}"
        measured = spread(goal["form"], goal["low"], goal["median"], goal["high"], goal["number"])
        lines.append(f"| {goal['what']} | {measured} | {limit} | {VERDICTS[goal['met']]} |")
    if not only_key:
        for skipped in results.skipped:
            if not part or skipped["part"] == part:
                lines.append(f"| {skipped['what']} | – | – | skipped: {skipped['why']} |")
    return "\n".join(lines)


def titles(results, part):
    return list(dict.fromkeys(curve["title"] for curve in results.curves if curve["part"] == part))


def ways(results, title, pictures_in):
    """A table of one title: a row for each way, and a column for each x. Above it its picture, where there is one."""
    curves = [curve for curve in results.curves if curve["title"] == title]
    axis, unit = curves[0]["axis"], curves[0]["unit"]
    columns = sorted({x for curve in curves for x, _ in curve["points"]})
    heads = [counted(x, axis) for x in columns] if axis else [unit or "counted"]
    first = f"{title} ({unit})" if axis else title
    lines = [f"| {first} | " + " | ".join(heads) + " |", "|---|" + "--:|" * len(columns)]
    for curve in curves:
        found = dict(curve["points"])
        cells = []
        for x in columns:
            if x not in found:
                cells.append("–")
                continue
            low, middle, high = map(three, quartiles(found[x]))
            cells.append(middle if len(found[x]) == 1 else f"{middle} ({low}–{high})")
        lines.append(f"| {curve['way']} | " + " | ".join(cells) + " |")
    if curves[0]["drawn"] and pictures_in:
        lines = [f"![{title}]({pictures_in}/{file_name(title)})", "", *lines]
    return "\n".join(lines)


def growth(results):
    """By which power of x each curve rises in its last step."""
    lines = ["| what | way | from | to | rises with the power |", "|---|---|--:|--:|--:|"]
    for curve in results.curves:
        # What is told for each file or directory is level where the whole is linear.
        if len(curve["points"]) < 2:
            continue
        (x, before), (last, after) = curve["points"][-2:]
        power = math.log(quartiles(after)[1] / quartiles(before)[1]) / math.log(last / x)
        names = (counted(at, curve["axis"]) for at in (x, last))
        shown = f"**{power:.2f}**" if power > 1.1 else f"{power:.2f}"
        lines.append(f"| {curve['title']} | {curve['way']} | {' | '.join(names)} | {shown} |")
    return "\n".join(lines)


def part(results, name, pictures_in=None):
    """All there is of one part; `pictures_in`: where the pictures lie, seen from the page."""
    tables = [goals(results, part=name)] if any(goal["part"] == name for goal in results.goals + results.skipped) else []
    return "\n\n".join([*tables, *(ways(results, title, pictures_in) for title in titles(results, name))])


def put(page, name, text):
    """Replaces what lies between a page's markers of this name."""
    with open(page, encoding="utf-8") as file:
        whole = file.read()
    begin, end = f"<!-- bench: {name} -->\n", f"<!-- end of bench: {name} -->"
    found = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
    if len(found.findall(whole)) != 1:
        raise SystemExit(f"bench: {page}: no markers {begin.strip()} … {end}")
    with open(page, "w", encoding="utf-8") as file:
        file.write(found.sub(lambda _: f"{begin}{text}\n{end}", whole))


def as_json(results, machine, path):
    """One line for each curve and each goal: a page of differences for a run, not a book."""
    def lines(name, rows):
        return f' "{name}": [\n' + ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows) + "\n ]"

    with open(path, "w", encoding="utf-8") as out:
        out.write("{\n" + f' "machine": {json.dumps(machine, ensure_ascii=False)},\n')
        kept = [lines("curves", results.curves), lines("goals", results.goals), lines("skipped", results.skipped)]
        out.write(",\n".join(kept) + "\n}\n")
