"""Dates and times of the worklist: VR DT (PS3.5 6.2), ranges of it in queries (PS3.4 C.2.2.2.5)."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

Interval = tuple[float, float]
"""From, and up to but not including, seconds since the epoch."""

_EVER: Final = (float("-inf"), float("inf"))
_DT: Final = r"\d{4}(?:\d{2}){0,5}(?:\.\d{1,6})?"
# A hyphen and four digits up to 1200 are an offset from UTC, and else begin the second half of a range.
_OFFSET: Final = r"[+-](?:0\d|1[0-4])[0-5]\d"
_ONE: Final = re.compile(rf"({_DT})({_OFFSET})?")
_RANGE: Final = re.compile(rf"(?:({_DT})({_OFFSET})?)?-(?:({_DT})({_OFFSET})?)?")
_LATEST_YEAR: Final = 9999


def text(at: float) -> str:
    """A moment as DT: local time with its offset from UTC, so that it means the same everywhere.

    at: seconds since the epoch
    """
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y%m%d%H%M%S.%f%z")


def interval(value: str, offset: str = "") -> Interval:
    """What a DT value spans: a whole day, if it names no time.

    offset: Timezone Offset From UTC (0008,0201) of the data set, for values without one; empty: this machine's
    raises: ValueError if it is none
    """
    found = _ONE.fullmatch(value)
    if found is None:
        raise ValueError("no date and time")
    return _spanned(found[1], found[2] or offset)


def matched_range(value: str, offset: str = "") -> Interval:
    """What the key of a query spans: a moment, or a range with one end open at most. As `interval`."""
    if _ONE.fullmatch(value):
        return interval(value, offset)
    found = _RANGE.fullmatch(value)
    if found is None or value == "-":
        raise ValueError("no range of dates and times")
    first = _spanned(found[1], found[2] or offset) if found[1] else _EVER
    last = _spanned(found[3], found[4] or offset) if found[3] else _EVER
    return first[0], last[1]


def _spanned(digits: str, offset: str) -> Interval:
    whole, _, fraction = digits.partition(".")
    if fraction and len(whole) != 14:
        raise ValueError("a fraction without seconds")
    parts = [int(whole[:4]), *(int(whole[at : at + 2]) for at in range(4, len(whole), 2))]
    if len(parts) == 6 and parts[5] == 60:  # a leap second (PS3.5 6.2)
        parts[5] = 59
    start = datetime(*[*parts, 1, 1][: max(3, len(parts))])  # type: ignore[arg-type]  # noqa: DTZ001  zone below
    start = start.replace(microsecond=int(fraction.ljust(6, "0")) if fraction else 0)
    begin = _seconds(start, offset)
    if fraction:
        return begin, begin + 10.0 ** -len(fraction)
    if len(parts) >= 4:
        return begin, begin + (3600.0, 60.0, 1.0)[len(parts) - 4]
    return begin, _seconds(_next(start, len(parts)), offset)


def _next(start: datetime, known: int) -> datetime:
    if known == 3:
        return start + timedelta(days=1)
    year, month = (start.year + 1, 1) if known == 1 or start.month == 12 else (start.year, start.month + 1)
    return start.replace(year=min(year, _LATEST_YEAR), month=month)


def _seconds(moment: datetime, offset: str) -> float:
    if offset:
        minutes = int(offset[0] + "1") * (60 * int(offset[1:3]) + int(offset[3:5]))
        return moment.replace(tzinfo=timezone(timedelta(minutes=minutes))).timestamp()
    return moment.astimezone().timestamp()
