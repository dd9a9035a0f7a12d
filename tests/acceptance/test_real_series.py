"""Every real CT series through a running node to two real archives: eligible ones come back whole, the rest say why."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from tests.dicom_lint import entities, lint
from tests.peers import Orthanc, StoreScp, dcmsend, which_or_skip
from tests.running_node import AE_TITLE, RunningNode, settings_for
from tests.senders import send_as_they_are
from tests.series import volumes, with_uids, write_volume

# Folder of ../shared/data/dicom -> None if it is eligible, else a word of the reason that `show` must name.
FOLDERS: dict[str, str | None] = {
    "ct_abdomen_ge_acrin3": None,
    "ct_abdomen_siemens_j2k": None,
    "ct_chest_philips_lidc0314": None,
    "ct_headphantom_philips_UB": None,
    "ct_headphantom_philips_YA": None,
    "ct_headphantom_philips_UB5mm": "2 slice(s); the network takes 3 or more",
    "ct_headphantom_philips_localizer": "LOCALIZER",
    "ct_headphantom_philips_tilt+16.5": "gantry tilt of 16.5",
    "ct_headphantom_philips_tilt-18.5": "gantry tilt of 18.5",
    "ct_body_nysbu_A002304": "1 slice(s); the network takes 3 or more",
    "ct_body_nysbu_A027284": "1 slice(s); the network takes 3 or more",
    "ct_body_nysbu_A046441": "1 slice(s); the network takes 3 or more",
    "ct_body_nysbu_A048383": "1 slice(s); the network takes 3 or more",
    "ct_body_nysbu_A056642": "1 slice(s); the network takes 3 or more",
    "ct_body_nysbu_A058062": "1 slice(s); the network takes 3 or more",
    "ct_body_nysbu_A062055": "1 slice(s); the network takes 3 or more",
}
# Here SOP Class, SOP Instance, Study and Series Instance UID are empty: no sender can send that, and PS3.4 lets no SCP
# take it. The test fills them in and leaves the JPEG 2000 pixels as they are.
WITHOUT_UIDS = "ct_abdomen_siemens_j2k"
# Volume of ../shared/data/ct -> the same.
VOLUMES: dict[str, str | None] = {
    "abdomen_totalsegmentator_3mm": "PixelSpacing 3 to 3 mm; the network takes 0.3 to 1.6 mm",
    "chest_lidc0314_philips_kernelD_1mm": None,
    "headct_brain_atlas_1mm": None,
    "headphantom_philips_kernelUB_1mm": None,
    "headphantom_philips_kernelYA_1mm": None,
    "petct_ge_ibsi_STS_002": None,
    "petct_ge_ibsi_STS_010": None,
    "thorax_cta_totalsegmentator_1.5mm": None,
    "thorax_totalsegmentator_1.5mm": None,
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of everything: the node afterwards, its two archives, and what was sent, by name."""

    node: RunningNode
    orthanc: Orthanc
    storescp: StoreScp
    sent: dict[str, list[Path]]


@pytest.fixture(scope="module")
def run(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("real")
    sent = {name: sorted((shared_data / "dicom" / name).glob("*.dcm")) for name in FOLDERS}
    sent[WITHOUT_UIDS] = [with_uids(path, folder / WITHOUT_UIDS / path.name) for path in sent[WITHOUT_UIDS]]
    for path in volumes(shared_data):
        name = path.name.removesuffix(".nii.gz")
        sent[name] = write_volume(path, folder / name, slices=60)
    with (
        Orthanc(folder / "orthanc") as orthanc,
        StoreScp(folder / "storescp") as storescp,
        # The quiet timer decides for the two-slice and one-slice sets; everything else goes by evidence.
        RunningNode(
            folder / "node",
            settings_for(folder / "node", destinations=[orthanc, storescp], assemble={"quiet_s": 10.0}),
        ) as node,
    ):
        for files in sent.values():
            (answer,) = dcmsend(node.port, files, called=AE_TITLE)
            assert answer.stored == len(files), answer.output[-2000:]
        series = {uid for files in sent.values() for uid in _series_uids(files)}
        node.wait_settled(len(series), timeout_s=600)
        yield Run(node=node, orthanc=orthanc, storescp=storescp, sent=sent)


def _series_uids(files: list[Path]) -> list[str]:
    return sorted({str(pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID) for path in files})


@pytest.mark.parametrize(("name", "reason"), [*FOLDERS.items(), *VOLUMES.items()])
def test_a_real_series_comes_back_or_says_why(run: Run, name: str, reason: str | None) -> None:
    files = run.sent[name]
    for series_uid in _series_uids(files):
        found = run.node.show(series_uid)
        (one,) = found["sets"]
        if reason is not None:
            assert one["state"] == "unmatched", one
            assert any(reason in line for line in one["rules"]["ct"]), one["rules"]
            continue
        (job,) = one["jobs"]
        assert job["state"] == "delivered", job
        assert [row["confirmed"] for row in job["destinations"]] == [len(files), len(files)]
        derived = run.orthanc.instances(job["series_uid"])
        assert len(derived) == len(files), "one derived instance for each source slice"
        sources = {str(pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID) for p in files}
        kept = [
            d for path in run.storescp.files() if (d := pydicom.dcmread(path)).SeriesInstanceUID == job["series_uid"]
        ]
        assert sorted(str(d.SOPInstanceUID) for d in kept) == derived
        assert {str(d.SourceImageSequence[0].ReferencedSOPInstanceUID) for d in kept} == sources


def test_no_source_is_lost_and_nothing_more_arrives_than_was_made(run: Run) -> None:
    eligible = sum(len(run.sent[name]) for name, reason in {**FOLDERS, **VOLUMES}.items() if reason is None)

    assert run.orthanc.count() == len(run.storescp.files()) == eligible


def test_dciodvfy_and_dcentvfy_find_nothing_beyond_the_allow_list(run: Run) -> None:
    which_or_skip("dciodvfy")
    derived: dict[str, dict[str, Path]] = {}
    for path in run.storescp.files():
        d = pydicom.dcmread(path, stop_before_pixels=True)
        source = str(d.SourceImageSequence[0].ReferencedSOPInstanceUID)
        derived.setdefault(str(d.ReferencedSeriesSequence[0].SeriesInstanceUID), {})[source] = path

    for name, sent in run.sent.items():
        # As the node received them: dcmsend itself empties a name of two blanks, for example.
        files = [run.node.received(str(pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID)) for p in sent]
        sources = {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in files}
        for series_uid in _series_uids(files):
            made = derived.get(series_uid, {})
            for uid, path in list(made.items())[::10] + list(made.items())[-1:]:
                assert lint(path, sources[uid]) == [], name
            # What dcentvfy finds in the sources alone is theirs.
            assert set(entities([*files, *made.values()])) <= set(entities(files)), name


def test_what_orthanc_keeps_is_what_was_sent_byte_for_byte(run: Run) -> None:
    files = {pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID: path for path in run.storescp.files()}

    for ids in run.orthanc.series().values():
        stored = pydicom.dcmread(_file(run, ids[0]))
        other = pydicom.dcmread(files[stored.SOPInstanceUID])
        assert stored == other
        assert stored.PixelData == other.PixelData


def _file(run: Run, orthanc_id: str) -> Path:
    path = run.node.folder / "from-orthanc.dcm"
    path.write_bytes(run.orthanc.download(orthanc_id))
    return path


def test_an_instance_without_a_series_is_refused_and_said_to_be(run: Run, shared_data: Path) -> None:
    files = sorted((shared_data / "dicom" / WITHOUT_UIDS).glob("*.dcm"))

    assert send_as_they_are(run.node.port, files[:2], called=AE_TITLE) == [0xA900, 0xA900]
