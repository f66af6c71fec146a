"""Figures as people read them."""

UNITS = ((30, "GiB"), (20, "MiB"), (10, "KiB"), (0, "bytes"))
SINGULAR = {"directories": "directory", "processes": "process", "threads": "thread"}


def three(value):
    """Three digits, never a power of ten."""
    if value == 0:
        return "0"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def counted(count, what):
    """So many of something, for people."""
    if what != "bytes":
        return f"{count:,} {what}" if count > 1 else "1 " + SINGULAR[what]
    power, unit = next((power, unit) for power, unit in UNITS if count >= 1 << power)
    return f"{count >> power} {unit}"
