"""What was measured: curves, which are drawn and listed, and goals, which are met or missed."""

from samples import pairs, quartiles


class Results:
    def __init__(self):
        self.curves, self.goals, self.skipped = [], [], []

    def curve(self, part, title, axis, unit, way, points, drawn=True):
        """`points`: of each x all samples. `axis` says what x counts, nothing where there is only one x. `drawn`: as a
        picture, too."""
        self.curves.append({"part": part, "title": title, "axis": axis, "unit": unit, "way": way, "points": points,
                            "drawn": drawn})

    def bars(self, part, title, unit, raw, drawn=False):
        """One x only: of each way all samples."""
        for way, values in raw.items():
            self.curve(part, title, None, unit, way, [(1, values)], drawn)

    def goal(self, part, what, values, limit, form="{:.2f} ×", at_most=True, key=False):
        """One line of the table of goals. Without a limit there is no goal; `key` lines are those of the README."""
        low, middle, high = quartiles(values)
        met = None if limit is None else (middle <= limit if at_most else middle >= limit)
        self.goals.append({
            "part": part, "what": what, "low": low, "median": middle, "high": high, "number": len(values),
            "limit": limit, "form": form, "at_most": at_most, "met": met, "key": key, "samples": values,
        })

    def against(self, part, what, raw, one, other, limit, **how):
        """A ratio as a goal, where both were measured."""
        if raw.get(one) and raw.get(other):
            self.goal(part, what, [round(value, 4) for value in pairs(raw[one], raw[other])], limit, **how)

    def skip(self, part, what, why):
        self.skipped.append({"part": part, "what": what, "why": why})

    def all_met(self):
        return all(goal["met"] is not False for goal in self.goals)
