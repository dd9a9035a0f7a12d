"""Was contrast agent given? What the headers of an MR series, and of its study, say about it.

A network that makes a post-contrast image must never be given one (DICOM_SPEC 1.5, 1.6). Whatever speaks for contrast
agent counts; a series that is refused for a word is seen by a person, one that was taken in error is seen by nobody.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pipelines.match import Header, number
from pipelines.role import Series

GIVEN: Final = (
    "ContrastBolusAgent",  # (0018,0010)
    "ContrastBolusAgentSequence",  # (0018,0012)
    "ContrastBolusRoute",  # (0018,1040)
    "ContrastBolusVolume",  # (0018,1041), ml
    "ContrastBolusStartTime",  # (0018,1042)
    "ContrastBolusTotalDose",  # (0018,1044), ml
    "ContrastBolusIngredient",  # (0018,1048)
)
"""Attributes of the Contrast/Bolus module (PS3.3 C.7.6.4); one with a value says that an agent was given."""

_AMOUNTS: Final = frozenset({"ContrastBolusVolume", "ContrastBolusTotalDose"})  # nothing was given where they are 0

IMAGE_TYPES: Final = frozenset({"POST_CONTRAST", "DYNAMIC_CONTRAST", "CONTRAST", "POSTCONTRAST", "POST_GD", "CE"})
"""Values of Image Type (0008,0008) and Frame Type that say it (PS3.3 C.8.13.3.1, and what writers make of it)."""

WORDS_IN: Final = ("SeriesDescription", "ProtocolName", "SequenceName")
"""Where words are looked for; Study Description names what was ordered, for every series alike."""

_LETTER_BEFORE, _LETTER_BEHIND = r"(?<![A-Z])", r"(?![A-Z])"
_WITHOUT: Final = r"(?:W/?O|WITHOUT|NO|NON|PRE|NATIVE?|OHNE|VOR|SANS|AVANT|SIN|SENZA|BEFORE)"

WORDS: Final[Mapping[str, str]] = {
    "+C": r"\+ ?C(?:E|ONTRAST)?" + _LETTER_BEHIND,
    "C+": _LETTER_BEFORE + r"C ?\+",
    "GD": _LETTER_BEFORE + r"GD(?:DTPA)?" + _LETTER_BEHIND,
    "GAD": _LETTER_BEFORE + r"GAD(?:O[A-Z]*)?" + _LETTER_BEHIND,
    "POST": _LETTER_BEFORE
    + r"POST(?:GD|GAD[A-Z]*|KM|CONTRAST|C|CE)?"
    + _LETTER_BEHIND
    + r"(?! (?:OP|OPERATIVE|SURG[A-Z]*|FOSSA|RT|RADIATION|TX|TRAUMA[A-Z]*|PROC[A-Z]*)(?![A-Z]))",
    "KM": _LETTER_BEFORE + r"(?:M|NACH)?KM" + _LETTER_BEHIND,
    "CE": _LETTER_BEFORE + r"(?:T[12]W?)?CE" + _LETTER_BEHIND,
    "T1C": _LETTER_BEFORE + r"T1W? ?C" + _LETTER_BEHIND,
    "CONTRAST": _LETTER_BEFORE + r"(?:POST)?CONTRAST[A-Z]*",
    "KONTRAST": _LETTER_BEFORE + r"KONTRASTM[A-Z]*",
    "INJ": _LETTER_BEFORE + r"INJ(?:ECTION|ECTED)?" + _LETTER_BEHIND,
    "trade name": _LETTER_BEFORE
    + r"(?:GADOVIST|GADAVIST|DOTAREM|MAGNEVIST|PROHANCE|MULTIHANCE|CLARISCAN|PRIMOVIST|OMNISCAN|ELUCIREM|VUEWAY)"
    + _LETTER_BEHIND,
}
"""Words for contrast agent, in capitals; a word counts unless one for "without" or "before" stands right before it."""

_PATTERNS: Final = {word: re.compile(pattern) for word, pattern in WORDS.items()}
_NEGATED: Final = re.compile(_LETTER_BEFORE + _WITHOUT + r"[ .]*(?:IV |I V )?$")
_DATE_TIME: Final = re.compile(r"([0-9]{8})([0-9]{2})([0-9]{2})?([0-9]{2})?(?:\.([0-9]{1,6}))?")


def words(text: str) -> list[str]:
    """The words for contrast agent in a description, by their key of `WORDS`; none in "POSTERIOR" or "WITHOUT GD"."""
    plain = " ".join(re.sub(r"[^A-Z0-9+/]", " ", text.upper()).split())
    found = []
    for word, pattern in _PATTERNS.items():
        if any(not _NEGATED.search(plain[: hit.start()]) for hit in pattern.finditer(plain)):
            found.append(word)
    return found


def said(header: Header) -> list[str]:
    """What of one header speaks for contrast agent: facts without what stands in free text. Empty if nothing does."""
    found = [f"{keyword} has a value" for keyword in GIVEN if _has_value(header, keyword)]
    if "YES" in header.get("ContrastBolusAgentAdministered", ()):  # (0018,9342) of a frame, PS3.3 C.7.6.16.2.12
        found.append("ContrastBolusAgentAdministered is YES")
    types = IMAGE_TYPES.intersection(value.upper() for value in header.get("ImageType", ()))
    found += [f"ImageType holds {one}" for one in sorted(types)]
    for keyword in WORDS_IN:
        for word in words(" ".join(header.get(keyword, ()))):
            found.append(f"{keyword} holds a word for contrast agent ({word})")
    return found


def reasons(headers: Sequence[Header]) -> list[str]:
    """Why a series can't be one without contrast agent; every slice is asked."""
    counts: dict[str, int] = {}
    for header in headers:
        for fact in said(header):
            counts[fact] = counts.get(fact, 0) + 1
    return [f"contrast agent was given: {fact} in {count} of {len(headers)} slices" for fact, count in counts.items()]


def given_before(chosen: Mapping[str, Series], study: Sequence[Series]) -> list[str]:
    """Why series that do not say so themselves may show contrast agent: another one of the study had it before.

    chosen: role -> its series
    study:  all series of the study that are here, these among them
    returns: one line for each role whose series was acquired after one with contrast agent, or cannot be shown to have
             been acquired before it
    """
    found = []
    mine = {one.uid for one in chosen.values()}
    with_agent = [one for one in study if one.uid not in mine and any(map(_is_of_agent, one.headers))]
    for role, one in chosen.items():
        until = max(_times(one.headers), default="")
        for other in with_agent:
            since = min(_given_at(other.headers), default="")
            if not until or not since:
                found.append(
                    f"another series has contrast agent, and the times of acquisition do not say if {role} is older"
                )
            elif since <= until:
                found.append(
                    f"contrast agent was given before the series for {role} was acquired, as another series says"
                )
    return list(dict.fromkeys(found))


def _is_of_agent(header: Header) -> bool:
    return header.get("Modality") == ("MR",) and bool(said(header))


def _has_value(header: Header, keyword: str) -> bool:
    values = [value for value in header.get(keyword, ()) if value]
    if keyword in _AMOUNTS:
        return any(number(value) != 0 for value in values)
    return bool(values)


def _times(headers: Sequence[Header]) -> Iterator[str]:
    """When slices were acquired, as text of one form that sorts; slices that do not say it are left out."""
    for header in headers:
        stamped = _stamp("".join(header.get("AcquisitionDateTime", ())))
        date = "".join(header.get("AcquisitionDate", ()) or header.get("SeriesDate", ()))
        if stamped := stamped or _stamp(date + "".join(header.get("AcquisitionTime", ()))):
            yield stamped


def _given_at(headers: Sequence[Header]) -> Iterator[str]:
    """The times of a series with contrast agent, and those at which its injection is said to have begun."""
    yield from _times(headers)
    for header in headers:
        date = "".join(header.get("AcquisitionDate", ()) or header.get("SeriesDate", ()))
        if stamped := _stamp(date + "".join(header.get("ContrastBolusStartTime", ()))):
            yield stamped


def _stamp(text: str) -> str:
    """YYYYMMDDHHMMSS.ffffff of a DT, or of a date and a time; empty if it is neither (PS3.5 6.2)."""
    hit = _DATE_TIME.match(text)
    if hit is None:
        return ""
    day, hour, minute, second, fraction = hit.groups(default="")
    return f"{day}{hour}{minute or '00'}{second or '00'}.{fraction.ljust(6, '0')}"
