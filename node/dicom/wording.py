"""The texts and times of a derived image that people read, in words that are right in every character set."""

import json
import re
import warnings
from datetime import datetime, timedelta, timezone

from pydicom.charset import convert_encodings, decode_bytes, encode_string
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from node.dicom import codes, part10
from node.dicom.job import Job
from node.dicom.part10 import BROKEN
from node.errors import Refuse

LONGEST_DESCRIPTION = 64  # characters, LO
LONGEST_DERIVATION = 1024  # characters, ST
LONGEST_COMMENT = 10240  # characters, LT
CAUTION = "CAUTION"  # opens what a reader sees of a result whose checks were not all passed
LONGEST_PARAMETERS = 320  # characters of the parameters that the text for people repeats


def local_start(started: datetime, source: Dataset) -> tuple[str, str]:
    """Date and time of the start, in the offset of Timezone Offset From UTC (0008,0201) where the source has one."""
    moment = started
    if offset := part10.text(source, "TimezoneOffsetFromUTC"):
        if not re.fullmatch(r"[+-][01][0-9][0-5][0-9]", offset):
            raise Refuse("TimezoneOffsetFromUTC is not an offset.", fix="Have the sender correct it.")
        minutes = int(offset[1:3]) * 60 + int(offset[3:])
        moment = moment.astimezone(timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)))
    return moment.strftime("%Y%m%d"), moment.strftime("%H%M%S.%f" if moment.microsecond else "%H%M%S")


def series_description(marker: str, source: Dataset, *, echoes: bool = True) -> RawDataElement:
    """Series Description (0008,103E): the marker, then the source's own words as far as 64 characters reach.

    echoes: whether those follow; else the marker stands alone
    The source's bytes are kept; only a text that is too long is decoded, cut between characters and encoded again.
    """
    value = (part10.raw(source, 0x0008103E) or b"").strip(b" \0") if echoes else b""
    opening = f"{marker} - ".encode("ascii")
    description = marker.encode("ascii")
    allowed = LONGEST_DESCRIPTION - len(opening)
    try:
        text = _decode(value, source)
        if text and "\\" not in text and text.isprintable():
            if len(text) > allowed:
                text = text[:allowed].rstrip()
                value = encode_string(text, _encodings(source))
            if _decode(value, source) == text:
                description = opening + value
    except UnicodeError:  # bytes that are not what their character set says: the marker stands alone
        description = marker.encode("ascii")
    description += b" " * (len(description) % 2)
    return RawDataElement(Tag("SeriesDescription"), "LO", len(description), description, 0, False, True)


def derivation_description(job: Job, series_number: str) -> str:
    """Derivation Description (0008,2111): what was done, by what, to which series, with which parameters."""
    parameters = json.dumps(job.parameters, sort_keys=True, separators=(",", ":"))
    if len(parameters) > LONGEST_PARAMETERS:
        parameters = f"sha256:{job.parameters_sha256[:20]}"
    number = series_number if re.fullmatch(r"[+-]?[0-9]{1,11}", series_number) else "without number"
    return (
        f"{job.operation} by {job.model} {job.model_version}; input series {number}; parameters {parameters}; "
        f"not a scanner reconstruction. Weights sha256:{job.weights_sha256[:20]}. {_checked(job)}"
        + "".join(f" {text}" for text in (job.note, codes.OUTPUTS[job.kind].remark) if text)
    )


def image_comments(job: Job, source: Dataset) -> RawDataElement:
    """Image Comments (0020,4000): the caution, what the kind of image owes its reader, then the source's own bytes.

    Ours is ASCII, in which every character set of DICOM begins; what has no room in LT is cut from the end of the
    source's, and it is left out whole where cutting could break a character.
    """
    caution = f"{CAUTION}: {', '.join(job.cautions)[:400]}. Compare with the original images." if job.cautions else ""
    ours = " ".join(text for text in (caution, codes.OUTPUTS[job.kind].comment) if text).encode("ascii")
    own = (part10.raw(source, 0x00204000) or b"").strip(b" \0")
    value = ours + b" " + own if own and len(ours) + 1 + len(own) <= LONGEST_COMMENT else ours
    value += b" " * (len(value) % 2)
    return RawDataElement(Tag("ImageComments"), "LT", len(value), value, 0, False, True)


def _checked(job: Job) -> str:
    passed = f"Automatic checks: {job.checks - len(job.cautions)} passed"
    names = ", ".join(job.cautions)
    return f"{passed}; {CAUTION}: {names if len(names) <= 200 else names[:197] + '...'}." if names else f"{passed}."


def text_of(element: RawDataElement, source: Dataset) -> str:
    """The text of `series_description`, for people and messages."""
    value = element.value or b""
    return (value.decode("ascii") if value.isascii() and b"\x1b" not in value else _decode(value, source)).strip(" \0")


def _encodings(source: Dataset) -> list[str]:
    return convert_encodings(list(part10.values(source, "SpecificCharacterSet") or ("",)))


def _decode(value: bytes, source: Dataset) -> str:
    """Decode a text; what pydicom only warns of is an error here.

    raises: UnicodeError if the bytes are not what the character set says, or nobody knows that set
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return str(decode_bytes(value, _encodings(source), set()))
        except (*BROKEN, LookupError, UserWarning) as error:
            raise UnicodeError("The text is not in the character set that is stated.") from error
