"""What becomes of every real and every odd file: MATRIX.md, written from a run through a node and read by people.

python -m tests.acceptance.matrix        run everything and write MATRIX.md again
"""

import contextlib
import hashlib
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from sqlalchemy import select

from node.demo.ct_series import uid
from node.dicom.classes import TRANSFER_SYNTAXES
from node.dicom.codes import IMPLEMENTATION_CLASS_UID
from node.errors import Refuse
from node.peers.dimse import send as dimse_send
from node.peers.dimse.connect import Address
from node.records import jobs, sets
from node.records.tables import INSTANCES
from tests import reference
from tests.acceptance.test_corpus import rawsend
from tests.acceptance.test_reference_decoders import MALFORMED, ours
from tests.conftest import SHARED
from tests.dicom_phantom import item
from tests.enhanced_phantom import legacy
from tests.peers import HOST
from tests.running_node import AE_TITLE, RunningNode, settings_for
from tests.series import with_header, with_uids

TABLE = Path(__file__).with_name("MATRIX.md")
HEAD = """\
# What becomes of real and odd objects

Written by `python -m tests.acceptance.matrix` from a run of the node; `test_matrix.py` runs it again and compares.
Every line is a file, or a folder of one series, of ../shared/data, sent over an association. The node has two rules,
for CT and for MR, and both ask for `ct-denoise`.

* **answer** to the C-STORE: 0000 stored; A900 a UID is missing in the data set or is not that of the command; C000 the
  data set cannot be read; 0117 a UID is none. *not accepted*: the presentation context was rejected.
* **outcome**: *processed*: derived images were delivered. *refused*: the input gate says why nobody may process it.
  *stored only*: no network here takes it. A set of several stacks has one line for each part.
* **pixels**: what the decoder made of the files, frames x rows x columns; all of it equals what DCMTK makes of it, or
  GDCM for JPEG 2000, or OpenJPEG for HTJ2K.

Odd files that share a UID got UIDs of their own, digit for digit, so that each is looked at. `ct_abdomen_siemens_j2k`
has empty UIDs and `odd/geometry` two for each object, which no sender can send: they were mended. Under `made/` are the
three slices of `ct_abdomen_ge_acrin3` in every transfer syntax, and `ct_chest_philips_lidc0314` as Legacy Converted
Enhanced CT, written by other people's encoders.

| object | answer | outcome | pixels |
|---|---|---|---|
"""
RULES = (
    {"name": "ct", "pipeline": "ct-denoise", "where": {"Modality": "CT"}},
    {"name": "mr", "pipeline": "ct-denoise", "where": {"Modality": "MR"}},
)
_NETWORK = re.compile(r"^the network takes|; the network ")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table; the outcome of a set of several parts has several."""

    name: str
    answer: str
    outcome: tuple[str, ...]
    pixels: str

    def text(self) -> str:
        cells = (self.name, self.answer, "<br>".join(self.outcome), self.pixels)
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(rows: Iterable[Row]) -> str:
    """The whole document."""
    return HEAD + "".join(row.text() + "\n" for row in rows)


def groups(data: Path) -> dict[str, list[Path]]:
    """Name in the table -> files that are sent together."""
    found = {}
    for folder in sorted((data / "dicom").iterdir()):
        if folder.name == "enhanced_multiframe":
            found |= {f"dicom/{folder.name}/{path.name}": [path] for path in sorted(folder.iterdir())}
            # Two files of one series, a phase each.
            both = [found.pop(f"dicom/{folder.name}/mr_siemens_xa10_phantom_6_{number}.dcm")[0] for number in (1, 2)]
            found[f"dicom/{folder.name}/mr_siemens_xa10_phantom_6_*.dcm"] = both
        else:
            found[f"dicom/{folder.name}"] = sorted(folder.iterdir())
    for folder in sorted((data / "odd" / "geometry").iterdir()):
        found[f"odd/geometry/{folder.name}"] = sorted(folder.iterdir())
    for name in ("syntaxes", "malformed"):
        found |= {f"odd/{name}/{path.name}": [path] for path in sorted((data / "odd" / name).iterdir())}
    return found


def made(data: Path, folder: Path) -> dict[str, list[Path]]:
    """Real slices in encodings that the data does not have."""
    found = {}
    for syntax, name in TRANSFER_SYNTAXES.items():
        files = []
        for path in sorted((data / "dicom" / "ct_abdomen_ge_acrin3").iterdir()):
            out = folder / syntax / path.name
            out.parent.mkdir(parents=True, exist_ok=True)
            ds = pydicom.dcmread(path)
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid("made", syntax, path.name)
            ds.SeriesInstanceUID = uid("made", syntax)
            ds.save_as(out)
            if syntax != reference.EXPLICIT:
                reference.encoded(out, out.with_suffix(".encoded.dcm"), syntax)
            files.append(out if syntax == reference.EXPLICIT else out.with_suffix(".encoded.dcm"))
        found[f"made/{name}"] = files
    slices = [pydicom.dcmread(path) for path in sorted((data / "dicom" / "ct_chest_philips_lidc0314").iterdir())]
    for one in slices:
        one.SeriesInstanceUID = uid("made", "legacy")
    converted = Path(legacy(folder / "legacy.dcm", slices))
    ds, first = pydicom.dcmread(converted), slices[0]
    ds.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = [
        item(RescaleIntercept=first.RescaleIntercept, RescaleSlope=first.RescaleSlope, RescaleType="HU")
    ]
    ds.save_as(converted)
    found["made/Legacy Converted Enhanced CT"] = [converted]
    return found


def rows(data: Path, folder: Path) -> list[Row]:
    """Run everything. folder: for the node's state and for files"""
    sent = {name: _mended(name, files, folder / "sent") for name, files in groups(data).items()}
    sent |= made(data, folder / "made")
    raw = settings_for(folder / "node", rules=RULES, assemble={"quiet_s": 2.0, "settle_s": 0.5})
    raw["peers"].append({"name": "rawsend", "ae_title": "RAWSEND", "addresses": ["127.0.0.0/8"]})
    answers, series = {}, {}
    with contextlib.chdir(folder), RunningNode(folder / "node", raw) as node:  # what has no path would come to lie here
        known, before = _received(node), _processes(node)
        for name, files in sent.items():
            answers[name] = _send(node, files)
            series[name] = [one for one in _received(node) if one not in known]
            known += series[name]
        pixels = {name: _pixels(files, folder / "decoded") for name, files in sent.items()}  # while the node works
        node.wait_settled(len(known), timeout_s=120)
        outcomes = {name: _outcomes(node, uids) for name, uids in series.items()}
        assert _processes(node) == before, "a process of the node died"
        assert all(node.show(uid)["series_uid"] == uid for uid in known)  # also where a study has the same UID
        _check_derived(node, {name: sent[name] for name in sent if name.startswith("made/") and len(sent[name]) > 1})
    return [Row(name=name, answer=answers[name], outcome=outcomes[name], pixels=pixels[name]) for name in sent]


def _check_derived(node: RunningNode, same: Mapping[str, Sequence[Path]]) -> None:
    """Whatever the encoding, the derived images are the same: sources that differ in nothing else make equal pixels."""
    of_source: dict[str, str] = {}
    for path in (node.folder / "delivered").rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        source = str(ds.SourceImageSequence[0].ReferencedSOPInstanceUID)
        of_source[source] = hashlib.sha256(ds.PixelData).hexdigest()
    found = {
        name: [of_source[str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)] for path in files]
        for name, files in same.items()
    }
    first = next(iter(found.values()))
    assert len(set(first)) == len(first)
    assert all(digests == first for digests in found.values()), found


def _processes(node: RunningNode) -> dict[str, int]:
    return {part: pid for part, pid in node.pids().items() if "child" not in part}


def _received(node: RunningNode) -> list[str]:
    """The series that the records know."""
    with closing(node.records()) as records, records.read() as connection:
        return list(connection.execute(select(INSTANCES.c.series_uid).distinct()).scalars())


def _mended(name: str, files: Sequence[Path], folder: Path) -> list[Path]:
    if name == "dicom/ct_abdomen_siemens_j2k":
        return [with_uids(path, folder / path.parent.name / path.name) for path in files]
    if name.startswith("odd/geometry"):
        return [with_header(path, folder / name / path.name) for path in files]
    if not name.startswith("odd/"):
        return list(files)
    (path,) = files
    data = path.read_bytes()
    for found in _uids(path):
        if len(found) > 8:
            digits = int(hashlib.sha256(f"{name}{found}".encode()).hexdigest(), 16)
            data = data.replace(found.encode(), f"{found[:-4]}{1000 + digits % 9000}".encode())
    out = folder / name
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(data)
    return [out]


def _uids(path: Path) -> list[str]:
    try:
        ds = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        return [str(found) for word in ("SOPInstanceUID", "SeriesInstanceUID") if (found := ds.get(word))]
    except Exception:  # noqa: BLE001  what cannot be read has no UID to change
        return []


def _send(node: RunningNode, files: Sequence[Path]) -> str:
    if len(files) > 1:
        statuses: set[int] = set()
        classes = [str(pydicom.filereader.read_file_meta_info(path).MediaStorageSOPClassUID) for path in files]
        dimse_send.send(
            Address(host=HOST, port=node.port, called_ae=AE_TITLE, calling_ae="OTHER", connect_s=20.0, response_s=60.0,
                    implementation_uid=IMPLEMENTATION_CLASS_UID),
            list(zip(classes, files, strict=True)),
            before=lambda index: None,
            answered=lambda index, status: statuses.add(status) is None,
        )  # fmt: skip
        return ", ".join(f"{status:04X}" for status in sorted(statuses))
    (path,) = files
    answer, _ = rawsend().send(HOST, node.port, AE_TITLE, path.read_bytes(), 20.0)
    known = {"context-rejected 3": "not accepted: SOP class", "context-rejected 4": "not accepted: transfer syntax"}
    return known.get(answer, answer.removeprefix("status "))


def _outcomes(node: RunningNode, series: Sequence[str]) -> tuple[str, ...]:
    lines: dict[str, None] = {}
    with closing(node.records()) as records, records.read() as connection:
        for uid in series:
            for one in sets.of_series(connection, uid):
                lines |= dict.fromkeys(_of_set(one, jobs.of_set(connection, one["id"])))
    return tuple(lines) or ("-",)


def _of_set(one: Mapping[str, Any], made: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not one["reasons"] or one["state"] == "failed":  # a fault of the node, whatever was sent
        yield f"no outcome: the set is {one['state']}"
        return
    by_part: dict[str, list[list[str]]] = {}
    for rule, lines in one["reasons"].items():
        _, _, part = rule.partition(" of ")
        by_part.setdefault(part, []).append(lines)
    for part, rules in by_part.items():
        prefix = f"{part}: " if part else ""
        lines = min(rules, key=len)  # the rule of the other modality has one reason more
        jobs_of_part = [job for job in made if job["part"] in (part, "all")]
        if not lines:
            yield prefix + ", ".join(
                "processed" if job["state"] == "delivered" else _ended(job) for job in jobs_of_part
            )
        elif gate := [line for line in lines if not _NETWORK.search(line)]:
            yield f"{prefix}refused: {gate[0]}"
        else:
            yield f"{prefix}stored only: {lines[0]}"


def _ended(job: Mapping[str, Any]) -> str:
    return f"{job['state']}: {job.get('reason') or job.get('error') or job.get('message')}"


def _pixels(files: Sequence[Path], folder: Path) -> str:
    shapes = []
    for path in files:
        try:
            found = ours(path)
        except Refuse as error:
            return f"refused: {error.message}"
        except Exception as error:  # noqa: BLE001  in the node this ends the job, not the child
            return f"{type(error).__name__}"
        if path.name not in MALFORMED and not np.array_equal(found, reference.decoded(path, folder)):
            return "DIFFERENT from the reference"
        shapes.append(found.shape)
    frames = sum(shape[0] for shape in shapes)
    return f"{frames} x {shapes[0][1]} x {shapes[0][2]}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        TABLE.write_text(table(rows(SHARED / "data", Path(place))), encoding="utf-8")
    sys.stdout.write(f"{TABLE}\n")
