"""Drawings as SVG, with logarithmic axes. The colours are of middling brightness and the ground is transparent, so that
both can be read on a light and on a dark page."""

import math
from html import escape

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 760, 76, 200, 46, 52
OURS = ("#2f81e0", "#e05a1f", "#a855c8", "#0f9d74")
OTHERS = ("#868e96", "#a67c00", "#c2255c", "#5c7cfa", "#74802b", "#8d6e63", "#607d8b", "#b8860b", "#7e57c2")
STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #7d8590; }
.title { font-size: 15px; font-weight: 600; }
.grid { stroke: #8b949e; stroke-opacity: 0.25; }
.curve { fill: none; stroke-width: 2; }
.spread { stroke-width: 1.5; stroke-opacity: 0.6; }
</style>"""


def is_ours(way):
    return way.startswith("tmpshim")


def colours(ways):
    """One for each way; ours are the strong ones."""
    ours, others = iter(OURS * len(ways)), iter(OTHERS * len(ways))
    return {way: next(ours if is_ours(way) else others) for way in ways}


class Scale:
    """From values to places, by their logarithm."""

    def __init__(self, values, begin, end, is_whole):
        low, high = min(values), max(values)
        # Whole decades, or as far as there are values: then a little further, so that nothing lies on the edge.
        self.low = math.floor(math.log10(low)) if is_whole else math.log10(low)
        self.high = math.ceil(math.log10(high)) if is_whole else math.log10(high)
        if self.high - self.low < 0.1:
            self.high += 1
        self.begin, self.end = begin, end

    def at(self, value):
        part = (math.log10(max(value, 1e-12)) - self.low) / (self.high - self.low)
        return round(self.begin + (self.end - self.begin) * part, 1)

    def decades(self):
        return [10.0**power for power in range(math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9) + 1)]


def number(value):
    if value >= 1:
        return f"{value:,.0f}"
    return f"{value:.6f}".rstrip("0")


def text(x, y, words, anchor="start", extra=""):
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{extra}>{escape(words)}</text>'


def line(x1, y1, x2, y2, kind, colour=""):
    stroke = f' stroke="{colour}"' if colour else ""
    return f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"{stroke}/>'


def page(height, title, parts):
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img">\n<title>{escape(title)}</title>\n{STYLE}\n'
    )
    return head + "\n".join([text(16, 24, title, extra=' class="title"'), *parts]) + "\n</svg>\n"


def curves(title, axis, unit, series, ticks):
    """`series`: of each way its points, (x, low, median, high). `ticks`: the x that are named, with their names."""
    height, bottom = 440, 440 - BOTTOM
    points = [point for those in series.values() for point in those]
    across = Scale([x for x, *_ in points], LEFT + 10, WIDTH - RIGHT, False)
    up = Scale([value for _, *values in points for value in values], bottom, TOP, True)
    parts = [text(LEFT - 60, TOP - 8, unit)]
    for value in up.decades():
        parts.append(line(LEFT, up.at(value), WIDTH - RIGHT + 6, up.at(value), "grid"))
        parts.append(text(LEFT - 8, up.at(value) + 4, number(value), "end"))
    for x, name in ticks:
        parts.append(line(across.at(x), TOP, across.at(x), bottom, "grid"))
        parts.append(text(across.at(x), bottom + 18, name, "middle"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, bottom + 40, axis, "middle"))
    chosen = colours(series)
    for way, those in series.items():
        colour = chosen[way]
        path = " ".join(f"{across.at(x)},{up.at(middle)}" for x, _, middle, _ in those)
        dashes = "" if is_ours(way) else ' stroke-dasharray="5 3"'
        parts.append(f'<polyline class="curve" points="{path}" stroke="{colour}"{dashes}/>')
        for x, low, middle, high in those:
            parts.append(line(across.at(x), up.at(low), across.at(x), up.at(high), "spread", colour))
            parts.append(f'<circle cx="{across.at(x)}" cy="{up.at(middle)}" r="3.5" fill="{colour}"/>')
    ends = {way: up.at(those[-1][2]) for way, those in series.items()}
    for way, place in apart(ends, 15, TOP, bottom).items():
        # A curve may end before the others do.
        end = across.at(series[way][-1][0])
        parts.append(line(end + 6, ends[way], WIDTH - RIGHT + 14, place, "spread", chosen[way]))
        parts.append(text(WIDTH - RIGHT + 18, place + 4, way, extra=f' style="fill: {chosen[way]}"'))
    return page(height, title, parts)


def apart(places, least, top, bottom):
    """Moves labels away from each other, and keeps their order."""
    order = sorted(places, key=places.get)
    moved = [places[way] for way in order]
    for index in range(1, len(moved)):
        moved[index] = max(moved[index], moved[index - 1] + least)
    over = moved[-1] - bottom
    if over > 0:
        moved[-1] -= over
        for index in range(len(moved) - 2, -1, -1):
            moved[index] = min(moved[index], moved[index + 1] - least)
    return {way: round(max(place, top), 1) for way, place in zip(order, moved)}


def bars(title, unit, values):
    """`values`: of each way (low, median, high)."""
    left, step = 214, 26
    height = TOP + step * len(values) + 44
    along = Scale([value for those in values.values() for value in those], left, WIDTH - 110, True)
    bottom = TOP + step * len(values)
    parts = []
    for value in along.decades():
        parts.append(line(along.at(value), TOP, along.at(value), bottom, "grid"))
        parts.append(text(along.at(value), bottom + 18, number(value), "middle"))
    parts.append(text((left + WIDTH - 110) / 2, bottom + 36, f"{unit}, logarithmic", "middle"))
    chosen = colours(values)
    for index, (way, (low, middle, high)) in enumerate(values.items()):
        y, colour = TOP + step * index, chosen[way] if is_ours(way) else OTHERS[0]
        long = max(round(along.at(middle) - left, 1), 1)
        parts.append(f'<rect x="{left}" y="{y + 4}" width="{long}" height="{step - 9}" fill="{colour}" fill-opacity="0.75"/>')
        middle_y = y + step / 2
        parts.append(line(along.at(low), middle_y, along.at(high), middle_y, "spread", "#6e7781"))
        parts.append(text(left - 8, middle_y + 4, way, "end"))
        shown = f"{middle:,.0f}" if middle >= 100 else f"{middle:.3g}"
        parts.append(text(max(along.at(middle), along.at(high)) + 8, middle_y + 4, f"{shown} {unit}"))
    return page(height, title, parts)
