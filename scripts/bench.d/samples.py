"""Samples: taken in turn, and what is said of them."""

import statistics
import time


def turns(number, those, measure, seconds=None, warms_up=True):
    """Measures `those` in turn, each of them first as often, `number` times. A first round only warms up, unless one
    sample is all that is wanted. Once the seconds are over it is fewer, but three, or one where
    nothing warms up: some filesystems take long to make a hundred thousand directories."""
    raw = {which: [] for which in those}
    start = time.monotonic()
    for index in range(0 if warms_up and number > 1 else 1, number + 1):
        if seconds and index > (3 if warms_up else 1) and time.monotonic() - start > seconds:
            break
        first = (index + 1) % len(those)
        for which in [*those[first:], *those[:first]]:
            value = measure(which)
            if index:
                raw[which].append(round(value, 3))
    return raw


def pairs(above, below):
    """The ratios of what was measured in the same turn: a machine that is busy with something else shifts both."""
    return [a / b for a, b in zip(above, below)]


def quartiles(values):
    """First quartile, median, third quartile."""
    if len(values) < 2:
        return (values[0],) * 3
    return tuple(statistics.quantiles(values, n=4, method="inclusive"))


def median(values):
    return statistics.median(values)
