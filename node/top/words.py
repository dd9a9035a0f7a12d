"""Figures as a person reads them at a glance."""

from collections.abc import Sequence
from typing import Final

_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86400.0
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_PLAIN_BLOCKS: Final = " .:-=+*%#"
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def seconds(value: float) -> str:
    """A time span in at most 6 characters: 0.4 s, 12 s, 3m20s, 2h05m, 4d11h."""
    if value < 9.95:
        return f"{value:.1f} s"
    if value < _MINUTE_S - 0.5:
        return f"{value:.0f} s"
    whole = round(value)
    if value < _HOUR_S - 0.5:
        return f"{whole // 60}m{whole % 60:02d}s"
    if value < _DAY_S - 30:
        minutes = round(value / _MINUTE_S)
        return f"{minutes // 60}h{minutes % 60:02d}m"
    hours = round(value / _HOUR_S)
    return f"{hours // 24}d{hours % 24:02d}h" if hours < 2400 else f"{hours // 24}d"


def size(value: float) -> str:
    """Bytes in powers of 1000, as disks are sold."""
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError  # the last unit took it


def bar(counts: Sequence[int], *, width: int, plain: bool = False) -> str:
    """Counts of hours as a row of blocks, the newest at the right, each at least one step high if it is not 0.

    width: characters; where there are more hours, neighbours go together
    plain: without characters that are not ASCII
    """
    if width < 1 or not counts:
        return ""
    together = -(-len(counts) // width)
    padded = [0] * (-len(counts) % together) + list(counts)
    summed = [sum(padded[place : place + together]) for place in range(0, len(padded), together)]
    blocks, most = _PLAIN_BLOCKS if plain else _BLOCKS, max(summed)
    steps = len(blocks) - 1
    return "".join(blocks[-(-count * steps // most)] if most else blocks[0] for count in summed)
