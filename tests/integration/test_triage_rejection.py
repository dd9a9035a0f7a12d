"""The rejection note before the validators."""

from pathlib import Path

import pydicom
import pytest

from node.dicom import triage_codes
from node.worklist.objects.rejection import write_rejection
from tests import dicom_lint, dicom_phantom, triage_phantom
from tests.triage_phantom import not_analysable

pytestmark = pytest.mark.skipif(
    bool(dicom_lint.missing_tools()), reason=f"not installed: {', '.join(dicom_lint.missing_tools())}"
)


@pytest.mark.parametrize("code", triage_codes.REJECTED)
def test_a_rejection_note_names_what_it_withdraws(tmp_path: Path, code: str) -> None:
    sources = dicom_phantom.series(tmp_path / "in", dicom_phantom.everything)
    reply = triage_phantom.written(tmp_path / "out", sources, not_analysable())
    (one,) = reply["instances"]
    withdrawn = [
        {**{k: one[k] for k in ("sop_class_uid", "sop_instance_uid")}, "series_instance_uid": reply[
            "series_instance_uids"]["report"]}
    ]  # fmt: skip
    request = {
        "object": one["path"],
        "code": code,
        "reason": "The source was corrected.",
        "instances": withdrawn,
        "at": "2026-03-04T06:00:00+01:00",
        "series_number": 4053,
        "job": triage_phantom.job(),
        "out": str(tmp_path / "note"),
    }
    first, second = write_rejection(request), write_rejection({**request, "out": str(tmp_path / "again")})
    note = pydicom.dcmread(first["path"])

    assert first["sha256"] == second["sha256"]
    assert not dicom_lint.lint(first["path"], one["path"])
    assert not dicom_lint.entities([*sources, one["path"], first["path"]])
    assert (note.ConceptNameCodeSequence[0].CodeValue, note.ContentDate) == (code, "20260304")
    (named,) = [item.ReferencedSOPSequence[0] for item in note.ContentSequence if "ReferencedSOPSequence" in item]
    assert named.ReferencedSOPInstanceUID == one["sop_instance_uid"]
    assert note.SOPInstanceUID != one["sop_instance_uid"]
