"""HL7 v2.5.1 messages: what is told of a verdict as ORU^R01 (DICOM_SPEC 3.3), and what an acknowledgement says.

python-hl7 holds segments and parses answers. Escaping is ours: its own writes characters beyond ASCII as `\\X..\\` with
as many digits as they need, which nobody can read back. What it parses as an answer is taken by position only.
"""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import hl7

from node.errors import Refuse
from node.log import log
from node.peers.telling import Told
from node.settings.flags import CharacterSet, Hl7Channel
from pipelines.triage import Flag

_ESCAPES: Final = {"\\": "E", "|": "F", "~": "R", "^": "S", "&": "T"}  # HL7 v2.5.1 2.7.1
_CODECS: Final = {CharacterSet.UTF_8: "utf-8", CharacterSet.JAPANESE: "iso2022_jp", CharacterSet.ASCII: "ascii"}
_STUDY: Final = "24725-4^CT Head^LN"  # what was imaged (DICOM_SPEC 3.2)
_FLAGS: Final = {
    Flag.RAISED: ("Suspected abnormality", "A"),
    Flag.NOT_RAISED: ("Flag not raised", ""),  # never "normal"
    Flag.NOT_ANALYSABLE: ("Not analysable", ""),
}
_TAKEN: Final = ("AA", "CA")  # HL7 table 0008: application accept, commit accept
_REFUSED: Final = ("AE", "AR", "CE", "CR")
_LONGEST_ANSWER: Final = 400
_NAMELESS: Final = "^^^^^^U"  # HL7 table 0200: unspecified; PID-5 is required


def codec(character_set: CharacterSet) -> str:
    """Python's name for it."""
    return _CODECS.get(character_set) or character_set.value.replace("8859/", "iso8859-")


def message(told: Told, channel: Hl7Channel, control_id: str) -> bytes:
    """One ORU^R01, ready to be framed; the same bytes for the same arguments.

    A withdrawal repeats the observations with OBX-11 `W`, "post original as wrong" (HL7 table 0085), under OBR-25 `C`,
    "correction to results" (table 0123), and says why in a note.

    raises: Refuse if what identifies patient, order or study cannot be written in the channel's character set
    """
    built = hl7.Message(sequence=[_segment(name, fields) for name, fields in _segments(told, channel, control_id)])
    try:
        return str(built).encode(codec(channel.character_set))
    except UnicodeEncodeError as error:
        raise Refuse(
            f"An identifier of the study cannot be written in {channel.character_set}.",
            fix=f"Set character_set = {CharacterSet.UTF_8.value!r} for {channel.name} if the receiver takes it.",
        ) from error


def _segment(name: str, fields: Mapping[int, str]) -> hl7.Segment:
    row = [name, *(fields.get(number, "") for number in range(1, max(fields) + 1))]
    return hl7.Segment(sequence=[hl7.Field(sequence=[value]) for value in row])


def _segments(told: Told, channel: Hl7Channel, control_id: str) -> Iterator[tuple[str, dict[int, str]]]:
    subject, withdrawn = told.subject, bool(told.withdrawn)
    urgent = told.flag is not Flag.NOT_RAISED and not withdrawn
    japanese = channel.character_set is CharacterSet.JAPANESE
    placer, filler = escaped(subject.placer), escaped(subject.filler or subject.accession)
    yield (
        "MSH",
        {
            1: "|",
            2: "^~\\&",
            3: channel.sending_application,
            4: channel.sending_facility,
            5: channel.receiving_application,
            6: channel.receiving_facility,
            7: told.stamp,
            9: "ORU^R01^ORU_R01",
            10: control_id,
            11: channel.processing_id,
            12: "2.5.1",
            18: ("~" if japanese else "") + channel.character_set.value,  # a second set, beside ASCII
            **({20: "ISO 2022-1994"} if japanese else {}),
        },
    )
    yield "PID", {1: "1", 3: _identifier(told, channel), 5: _name(subject.names, channel)}
    yield "ORC", {1: "RE", 2: placer, 3: filler}
    yield (
        "OBR",
        {
            1: "1",
            2: placer,
            3: filler,
            4: _STUDY,
            7: subject.acquired,
            18: escaped(subject.accession),
            22: told.stamp,  # required with OBR-25
            25: "C" if withdrawn else "P",
        },
    )
    yield "TQ1", {1: "1", 9: "S" if urgent else "R"}
    yield from _observations(told)


def _observations(told: Told) -> Iterator[tuple[str, dict[int, str]]]:
    status = "W" if told.withdrawn else "P"
    meaning, abnormal = _FLAGS[told.flag]
    flag = {
        1: "1", 2: "CWE", 3: "TRIAGE_FLAG^Triage flag^99GENAI", 5: f"{told.flag}^{meaning}^99GENAI", 8: abnormal,
        11: status,
    }  # fmt: skip
    yield "OBX", flag
    why = [told.withdrawn] if told.withdrawn else told.reasons
    for number, text in enumerate(why, start=1):
        yield "NTE", {1: str(number), 2: "L", 3: escaped(text)}
    number = 2
    if told.score is not None:
        score = f"{told.score:.4f}".rstrip("0").rstrip(".")
        yield (
            "OBX",
            {1: "2", 2: "NM", 3: "ANOM_SCORE^Anomaly score^99GENAI", 5: score, 6: "1^no units^UCUM", 11: status},
        )
        number += 1
    study = escaped(told.subject.study_uid)
    yield "OBX", {1: str(number), 2: "ST", 3: "113014^DICOM Study^DCM", 5: study, 11: "P"}
    if told.report_uid:
        report = escaped(told.report_uid)
        yield "OBX", {1: str(number + 1), 2: "ST", 3: "SR_UID^Triage SR^99GENAI", 5: report, 11: status}


def _identifier(told: Told, channel: Hl7Channel) -> str:
    """PID-3, CX: the id, and who assigned it (HD: namespace, universal id, its type)."""
    subject = told.subject
    if not subject.patient_id:
        return ""
    authority = [subject.issuer or channel.patient_authority, subject.issuer_entity, subject.issuer_type]
    assigned = "&".join(map(escaped, authority)).rstrip("&")
    return f"{escaped(subject.patient_id)}^^^{assigned}^{escaped(subject.id_type) or 'MR'}"


def _name(groups: tuple[str, str, str], channel: Hl7Channel) -> str:
    """PID-5, XPN: each writing of the name as a repetition, marked (XPN.8) where there are several.

    DICOM has prefix before suffix (PS3.5 6.2, PN), HL7 the other way round (2.A.88).
    """
    written = [(kind, group) for kind, group in zip("AIP", groups, strict=True) if group.strip("^ ")]
    found = []
    for kind, group in written:
        family, given, middle, prefix, suffix = ([escaped(_fit(it, channel)) for it in group.split("^")] + [""] * 5)[:5]
        parts = [family, given, middle, suffix, prefix]
        if len(written) > 1:
            parts += ["", "L", kind]
        found.append("^".join(parts).rstrip("^"))
    return "~".join(found) or _NAMELESS


def _fit(text: str, channel: Hl7Channel) -> str:
    """A name as far as the character set has its letters: a flag is not held up by one that it lacks."""
    name = codec(channel.character_set)
    try:
        text.encode(name)
    except UnicodeEncodeError:
        log.warning("a name has letters that the character set lacks", channel=channel.name)
        return unicodedata.normalize("NFKC", text).encode(name, "replace").decode(name)
    return text


def escaped(text: str) -> str:
    """A text as part of a field: no delimiter and no control character stays as it is (HL7 v2.5.1 2.7)."""
    found = []
    for letter in text:
        if letter in _ESCAPES:
            found.append(f"\\{_ESCAPES[letter]}\\")
        elif ord(letter) < 0x20 or ord(letter) == 0x7F:
            found.append(f"\\X{ord(letter):02X}\\")
        else:
            found.append(letter)
    return "".join(found)


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """What a receiver answered. `taken`: None if it is no answer that anybody knows; `text`: may name a patient."""

    control_id: str
    code: str
    text: str

    @property
    def taken(self) -> bool | None:
        return True if self.code in _TAKEN else False if self.code in _REFUSED else None


def acknowledgement(data: bytes, character_set: CharacterSet) -> Acknowledgement:
    """Read the answer to a message.

    data:   without the frame
    raises: ValueError if it is none: no HL7, or without MSA
    """
    try:
        parsed = hl7.parse(data.decode(codec(character_set), "replace").replace("\n", "\r"))
        segments = {str(segment[0]): segment for segment in parsed}
        msa, err = segments["MSA"], segments.get("ERR", [])
    except (hl7.HL7Exception, KeyError, IndexError, TypeError) as error:
        raise ValueError("The answer is no acknowledgement of HL7.") from error
    said = [_field(msa, 3), *(_field(err, number) for number in (8, 7, 3))]  # text, and what ERR says to a person
    text = " ".join(part for part in said if part)
    shown = "".join(letter if letter.isprintable() else " " for letter in text)[:_LONGEST_ANSWER]
    return Acknowledgement(control_id=_field(msa, 2), code=_field(msa, 1), text=shown)


def _field(segment: list[object], number: int) -> str:
    return str(segment[number]).strip() if len(segment) > number else ""
