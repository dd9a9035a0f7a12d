"""The rejection note that withdraws objects of ours (IHE IOCM; DICOM_SPEC section 2): a key object document.

Its title says why: (113001, DCM) for reasons of quality, (113037, DCM) for the safety of the patient. It is never the
objects that change; an archive that knows notes hides what they name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from node.dicom import keep, part10, provenance, source_slices, template, triage_codes, uids
from node.dicom.files import Batch
from node.dicom.job import Job
from node.dicom.source_slices import Source
from node.errors import Refuse
from node.worklist.objects import checks
from node.worklist.objects.keys import Reference, constructed
from node.worklist.objects.work import document_of, of_form, plain

FORM: Final = "rejection"
FILE_NAME: Final = "rejection.dcm"
_LONGEST: Final = 1024  # of a description, well below what UT holds
_DOCUMENTS: Final = frozenset(one.sop_class_uid for one in triage_codes.FORMS.values() if one.modality in ("SR", "KO"))
_EQUIPMENT: Final = "ContributingEquipmentSequence"


@dataclass(frozen=True, kw_only=True)
class Note:
    """What a note is to say.

    code:   its title, one of `triage_codes.REJECTED`
    reason: one sentence in ASCII without patient data, its description
    wanted: the objects that it withdraws
    """

    code: str
    reason: str
    wanted: tuple[Reference, ...]

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Self:
        """Read it from a request. Raises Refuse if something is missing or is no code, UID or text that it can have."""
        try:
            made = cls(
                code=str(request["code"]),
                reason=str(request["reason"]),
                wanted=tuple(_reference(one) for one in request["instances"]),
            )
        except (KeyError, TypeError) as error:
            raise Refuse(f"The rejection to write is incomplete ({type(error).__name__}: {error}).") from error
        if made.code not in triage_codes.REJECTED:
            raise Refuse(f"{made.code!a} is no title of a rejection note: {', '.join(triage_codes.REJECTED)}.")
        if not (made.reason.isascii() and 0 < len(made.reason) <= _LONGEST):
            raise Refuse(f"The reason of a rejection is ASCII text of 1 to {_LONGEST} characters.")
        named = [uid for one in made.wanted for uid in (one.sop_class_uid, one.sop_instance_uid, one.series_uid)]
        if not made.wanted or not all(map(uids.is_well_formed, named)):
            raise Refuse("A rejection names at least one object, by well-formed UIDs.")
        if len({one.sop_instance_uid for one in made.wanted}) != len(made.wanted):
            raise Refuse("A rejection names an object twice.")
        return made

    def uid(self, study_uid: str) -> str:
        """SOP Instance UID: the same objects are rejected for the same reason by the same note."""
        named = sorted(one.sop_instance_uid for one in self.wanted)
        return uids.duid("rejection", study_uid, self.code, self.reason, *named)


def write_rejection(request: dict[str, Any]) -> dict[str, Any]:
    """Write one rejection note.

    request: object (path of one of the objects that are withdrawn: patient, study and equipment are taken from it),
             code ("113001" or "113037"), reason, instances (sop_class_uid, sop_instance_uid, series_instance_uid of
             each object withdrawn), at (ISO time with offset, of the withdrawal), series_number, job (of the triage
             that made them, as for `write_objects`), out (folder)
    returns: an instance as those of `write_objects`, of form "rejection", and its series_instance_uid
    raises:  Refuse if something is missing, or the note would break an assertion (before it is written)
    """
    note, out = Note.of(request), Path(request["out"])
    source = source_slices.read_header(Path(request["object"]))
    study_uid = part10.text(source.dataset, "StudyInstanceUID")
    job = replace(
        of_form(Job.of(plain(request["job"])), FORM, int(request["series_number"]), computed=False),
        started=_moment(request["at"]),
        cautions=(),
    )
    written = _file(note, job, source, study_uid)
    with Batch(out) as batch:
        digest, size = batch.write(FILE_NAME, [written])
    return {
        "form": FORM,
        "series_instance_uid": job.series_uid(study_uid, FORM),
        "sop_instance_uid": note.uid(study_uid),
        "sop_class_uid": triage_codes.REJECTION.sop_class_uid,
        "path": str(out / FILE_NAME),
        "bytes": size,
        "sha256": digest,
    }


def _file(note: Note, job: Job, source: Source, study_uid: str) -> bytes:
    quality = note.code == "113001"
    made = constructed(
        job,
        study_uid,
        note.wanted,
        triage_codes.REJECTED[note.code],
        note.reason,
        modifier=triage_codes.QUALITY_REASON if quality else None,
    )
    said = provenance.common(job, [source], study_uid, sop_class_uid=triage_codes.REJECTION.sop_class_uid, form=FORM)
    said.SOPInstanceUID, said.InstanceNumber = note.uid(study_uid), 1
    joined = document_of(made, said, source)
    # The object that is withdrawn says already who made it, and of which scanner's images.
    equipment = [keep.copied(item) for item in part10.items(source.dataset, _EQUIPMENT)]
    joined[0x0018A001] = template.sequence(0x0018A001, [template.data_set(template.encode(item)) for item in equipment])
    head = template.head(note.uid(study_uid), triage_codes.REJECTION.sop_class_uid)
    written = head + template.data_set(joined)
    if wrong := checks.rejection(job, written, note.code, [one.named for one in note.wanted], [source]):
        raise Refuse(f"The rejection note breaks what it must hold: {'; '.join(wrong[:5])}.")
    return written


def _reference(one: Mapping[str, str]) -> Reference:
    return Reference(
        sop_class_uid=str(one["sop_class_uid"]),
        sop_instance_uid=str(one["sop_instance_uid"]),
        series_uid=str(one["series_instance_uid"]),
        is_image=one["sop_class_uid"] not in _DOCUMENTS,
    )


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise Refuse("The time of a rejection is no ISO time.") from error
    if moment.tzinfo is None:
        raise Refuse("The time of a rejection has no UTC offset.", fix="Persist it with one.")
    return moment
