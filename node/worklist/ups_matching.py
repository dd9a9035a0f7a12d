"""Which workitems a C-FIND asks for, and what of them (PS3.4 CC.2.8 and C.2.2.2), on plain values."""

import fnmatch
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from node.dicom.json_model import CHARACTER_SET, Plain, name_text
from node.worklist import ups_moments
from node.worklist.ups_attributes import ATTRIBUTES, CODE_MEANING, SOP_CLASS, SOP_INSTANCE, TIMEZONE, TRANSACTION
from node.worklist.ups_status import Refusal, Status

_WILD: Final = frozenset(["AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"])  # PS3.4 C.2.2.2.4
_NOT_KEYS: Final = frozenset((CHARACTER_SET, TIMEZONE))  # they say how the others are meant
_RANGES: Final = frozenset(("DA", "TM"))

Test = Callable[[Mapping[str, Any]], bool]
"""Whether an entity, or an item of a sequence of it, fits."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """What a C-FIND asks.

    fits:    whether a workitem is among the answers
    wanted:  tag -> what of the items of that sequence is wanted, None for all of the attribute
    partial: an optional key was not supported, which every answer says (FF01)
    texts:   terms of Specific Character Set (0008,0005) that the asker named
    exact:   tag -> value of keys at the root with one plain value, for those who look in a table first
    """

    fits: Test
    wanted: dict[str, Any]
    partial: bool
    texts: tuple[str, ...]
    exact: dict[str, str]


def query(identifier: Plain) -> Query:
    """Read the keys of a request. Raises Refusal if one has a value that it may not have."""
    offset = "".join(str(value) for value in identifier.get(TIMEZONE, {}).get("Value", ()))
    keys = {tag: entry for tag, entry in identifier.items() if tag not in _NOT_KEYS}
    known = {tag: entry for tag, entry in keys.items() if _supported(tag)}
    tests: list[Test] = []
    partial = len(known) < len(keys)
    for tag, entry in known.items():
        if not _matches(tag):
            partial |= _says_something(entry)
            continue
        test = _test(tag, entry, offset)
        if test is not None:
            tests.append(test)
    return Query(
        fits=lambda item: all(test(item) for test in tests),
        wanted={tag: _wanted(entry) for tag, entry in known.items()},
        partial=partial,
        texts=tuple(str(term or "") for term in identifier.get(CHARACTER_SET, {}).get("Value", ())),
        exact={tag: value for tag, entry in known.items() if (value := _exact(entry)) is not None},
    )


def answer(item: Plain, wanted: Mapping[str, Any]) -> Plain:
    """What of a workitem is wanted: every key is there, empty where the workitem has no value.

    The character set of the workitem goes along, for who encodes it.
    """
    found: Plain = {}
    if CHARACTER_SET in item:
        found[CHARACTER_SET] = item[CHARACTER_SET]
    for tag, of_items in wanted.items():
        entry = item.get(tag)
        if entry is None:
            found[tag] = {"vr": _vr(tag)}
        elif of_items and entry["vr"] == "SQ":
            found[tag] = {**entry, "Value": [_narrowed(one, of_items) for one in entry.get("Value", ())]}
            if not found[tag]["Value"]:
                del found[tag]["Value"]
        else:
            found[tag] = entry
    return found


def _narrowed(item: Plain, wanted: Mapping[str, Any]) -> Plain:
    return {tag: one for tag, one in answer(item, wanted).items() if tag in item}


def _supported(tag: str) -> bool:
    return tag in (SOP_CLASS, SOP_INSTANCE) or (tag in ATTRIBUTES and tag != TRANSACTION)


def _matches(tag: str) -> bool:
    return tag in (SOP_CLASS, SOP_INSTANCE) or ATTRIBUTES[tag].matches


def _vr(tag: str) -> str:
    return "UI" if tag in (SOP_CLASS, SOP_INSTANCE) else ATTRIBUTES[tag].vr if tag in ATTRIBUTES else "LO"


def _wanted(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    items = entry.get("Value", ()) if entry["vr"] == "SQ" else ()
    keys = {tag: _wanted(one) for item in items[:1] for tag, one in item.items() if tag not in _NOT_KEYS}
    return keys or None


def _says_something(entry: Mapping[str, Any]) -> bool:
    """Whether a key has a value, or one of its items has one."""
    values = [value for value in entry.get("Value", ()) if value not in (None, "", "*")]
    if entry["vr"] == "SQ":
        return any(_says_something(one) for item in values for one in item.values())
    return bool(values)


def _exact(entry: Mapping[str, Any]) -> str | None:
    values = entry.get("Value", ())
    one = values[0] if len(values) == 1 else None
    if not isinstance(one, str) or entry["vr"] not in ("CS", "UI", "LO") or re.search(r"[*?\\]", one):
        return None
    return one


def _test(tag: str, entry: Mapping[str, Any], offset: str) -> Test | None:
    """The test of one key; None for universal matching."""
    vr, values = entry["vr"], [value for value in entry.get("Value", ()) if value not in (None, "")]
    if not values:
        return None
    if vr == "SQ":
        return _sequence(tag, values, offset)
    if vr == "UI":
        uids = set(values)  # a list of UIDs (PS3.4 C.2.2.2.2)
        return _any_of(tag, lambda value: value in uids)
    if vr == "PN":
        values = [name_text(value) for value in values]
    if values == ["*"] and vr in _WILD:
        return None
    if len(values) > 1:
        raise Refusal(Status.BAD_IDENTIFIER, "A key has several values where one is matched")
    if vr == "DT":
        return _moment_test(tag, values[0], offset)
    return _any_of(tag, _value_test(vr, values[0]))


def _value_test(vr: str, wanted: Any) -> Callable[[Any], bool]:
    if vr == "PN":
        return _name_test(wanted)
    if vr in _RANGES and "-" in wanted:
        first, _, last = wanted.partition("-")
        return lambda value: (not first or value >= first) and (not last or value <= last or value.startswith(last))
    if vr in _WILD and re.search(r"[*?]", wanted):
        pattern = _pattern(wanted)
        return lambda value: pattern.fullmatch(str(value)) is not None
    return lambda value: bool(value == wanted)


def _moment_test(tag: str, wanted: str, offset: str) -> Test:
    """By moments and not by digits: each data set may say for itself where its times are local."""
    try:
        first, last = ups_moments.matched_range(wanted, offset)
    except (ValueError, OverflowError) as error:
        raise Refusal(Status.BAD_IDENTIFIER, "A key of date and time has a value that is none") from error

    def fits(entity: Mapping[str, Any]) -> bool:
        zone = "".join(str(value) for value in entity.get(TIMEZONE, {}).get("Value", ()))
        for value in entity.get(tag, {}).get("Value", ()):
            try:
                begin, end = ups_moments.interval(str(value), zone)
            except (ValueError, OverflowError):
                continue
            if begin < last and end > first:
                return True
        return False

    return fits


def _name_test(wanted: str) -> Callable[[Any], bool]:
    """Names match in any letter case, each group of characters by itself; trailing `^` mean nothing (PS3.5 6.2.1)."""
    groups = [group.rstrip("^") for group in wanted.casefold().split("=")]
    patterns = [_pattern(group) if group else None for group in groups]

    def fits(value: Any) -> bool:
        known = [group.rstrip("^") for group in name_text(value).casefold().split("=")]
        if len(patterns) == 1:  # one group: whichever of the name's it is written in
            return any(patterns[0] is None or patterns[0].fullmatch(group) is not None for group in known)
        known += [""] * (len(patterns) - len(known))
        return all(
            pattern is None or pattern.fullmatch(group) is not None
            for pattern, group in zip(patterns, known, strict=False)
        )

    return fits


def _sequence(tag: str, items: list[Plain], offset: str) -> Test | None:
    if len(items) > 1:
        raise Refusal(Status.BAD_IDENTIFIER, "A key that is a sequence has more than one item")
    tests = [
        test
        for key, entry in items[0].items()
        if key not in _NOT_KEYS and key != CODE_MEANING and (test := _test(key, entry, offset)) is not None
    ]  # Code Meaning is never matched (table CC.2.5-2a)
    if not tests:
        return None
    return lambda entity: any(all(test(item) for test in tests) for item in entity.get(tag, {}).get("Value", ()))


def _any_of(tag: str, fits: Callable[[Any], bool]) -> Test:
    def test(entity: Mapping[str, Any]) -> bool:
        return any(value is not None and fits(value) for value in entity.get(tag, {}).get("Value", ()))

    return test


@lru_cache(maxsize=256)
def _pattern(wild: str) -> re.Pattern[str]:
    """`*` is any text, `?` one character, everything else itself."""
    return re.compile(fnmatch.translate(wild.replace("[", "[[]")), re.DOTALL)
