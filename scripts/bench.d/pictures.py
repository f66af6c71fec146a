"""Which results are drawn, and into which files."""

import os
import re

import plot
from figures import counted
from samples import quartiles


def file_name(title):
    return re.sub(r"[^a-z0-9]+", "-", title.lower().replace("`", "")).strip("-") + ".svg"


def drawn(results, part=None):
    """Titles with their curves."""
    found = {}
    for curve in results.curves:
        if curve["drawn"] and (part is None or curve["part"] == part):
            found.setdefault(curve["title"], []).append(curve)
    return found


def draw(results, directory):
    """Writes what was measured; pictures of an earlier run's stay."""
    os.makedirs(directory, exist_ok=True)
    for title, curves in drawn(results).items():
        unit = curves[0]["unit"]
        if curves[0]["axis"]:
            series = {curve["way"]: [(x, *quartiles(values)) for x, values in curve["points"]] for curve in curves}
            picture = plot.curves(title, curves[0]["axis"], unit, series, ticks(curves))
        else:
            picture = plot.bars(title, unit, {curve["way"]: quartiles(curve["points"][0][1]) for curve in curves})
        with open(os.path.join(directory, file_name(title)), "w", encoding="utf-8") as out:
            out.write(picture)


def ticks(curves):
    """Every x that was measured."""
    places = sorted({x for curve in curves for x, _ in curve["points"]})
    if curves[0]["axis"] != "bytes":
        return [(x, f"{x:,}") for x in places]
    return [(x, counted(x, "bytes")) for x in places]
