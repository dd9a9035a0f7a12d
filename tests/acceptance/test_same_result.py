"""However a series arrives, the same result: twice, shuffled, over several associations, beside another, as files."""

import json
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from node.demo.phantom import make_series
from tests.peers import Orthanc, StoreScp, dcmsend, wait_until
from tests.running_node import AE_TITLE, RunningNode, cli, settings_for
from tests.senders import associate, store
from tests.series import shuffled, with_header, with_other_pixels

SLICES = 12


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_series(tmp_path_factory.mktemp("phantom"), slices=SLICES)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_series(tmp_path_factory.mktemp("other"), slices=SLICES, seed=1)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    """A node that delivers into a folder."""
    with RunningNode(tmp_path, settings_for(tmp_path)) as running:
        yield running


def delivered(node: RunningNode) -> dict[str, bytes]:
    return pixels(sorted((node.folder / "delivered").rglob("*.dcm")))


def pixels(files: list[Path]) -> dict[str, bytes]:
    return {str(d.SOPInstanceUID): d.PixelData for d in map(pydicom.dcmread, files)}


@pytest.fixture(scope="module")
def expected(phantom: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """SOP Instance UID -> pixels of the derived series, made from files without any network."""
    out = tmp_path_factory.mktemp("process")
    code, said, trouble = cli("process", phantom[0].parent, "--to", out, "--json")
    assert code == 0, trouble
    (series,) = json.loads(said)["series"]
    found = pixels(sorted((out / series["series_uid"]).glob("*.dcm")))
    assert len(found) == SLICES
    return found


def test_the_same_series_twice_gives_the_same_uids_and_no_second_copy(
    tmp_path: Path, orthanc: Orthanc, storescp: StoreScp, phantom: list[Path], expected: dict[str, bytes]
) -> None:
    with RunningNode(tmp_path, settings_for(tmp_path, destinations=[orthanc, storescp])) as node:
        for _ in range(2):
            (sent,) = dcmsend(node.port, phantom, called=AE_TITLE)
            assert sent.stored == SLICES
            node.wait_settled(1)

        assert len(node.sets()) == len(node.jobs()) == 1
        assert orthanc.count() == SLICES
        assert pixels(storescp.files()) == expected, "as `imaging-node process` made it, byte for byte"


def test_shuffled_over_four_associations_beside_another_series(
    node: RunningNode, phantom: list[Path], other: list[Path], expected: dict[str, bytes]
) -> None:
    for sent in dcmsend(node.port, shuffled([*phantom, *other]), called=AE_TITLE, associations=4):
        assert sent.returncode == 0
    node.wait_settled(2)

    assert len(node.sets()) == len(node.jobs()) == 2
    found = delivered(node)
    assert len(found) == 2 * SLICES
    assert {uid: data for uid, data in found.items() if uid in expected} == expected


def test_a_late_slice_makes_a_new_version_and_leaves_the_old_one(node: RunningNode, phantom: list[Path]) -> None:
    dcmsend(node.port, phantom[:-1], called=AE_TITLE)
    node.wait_settled(1)
    dcmsend(node.port, phantom[-1:], called=AE_TITLE)
    node.wait_settled(2)

    (series,) = {job["source_series_uid"] for job in node.jobs()}
    versions = node.show(series)["sets"]
    assert [one["instances"] for one in versions] == [SLICES - 1, SLICES]
    made = [one["jobs"][0]["series_uid"] for one in versions]
    assert len(set(made)) == 2, "another input is another series"


def test_other_pixels_under_a_known_uid_are_put_aside(
    node: RunningNode, phantom: list[Path], expected: dict[str, bytes], tmp_path: Path
) -> None:
    forged = with_other_pixels(phantom[3], tmp_path / "forged.dcm")

    dcmsend(node.port, phantom, called=AE_TITLE)
    (answer,) = dcmsend(node.port, [forged], called=AE_TITLE)
    node.wait_settled(1)

    assert answer.statuses == (0xC001,)
    (series,) = {job["source_series_uid"] for job in node.jobs()}
    assert "other pixels" in node.show(series)["quarantined"][0]
    assert delivered(node) == expected, "the first one stays"
    assert "imaging_node_quarantined_instances 1.0" in node.metrics()


def test_the_same_uid_for_another_patient_is_put_aside(node: RunningNode, phantom: list[Path], tmp_path: Path) -> None:
    dcmsend(node.port, phantom[:1], called=AE_TITLE)

    (answer,) = dcmsend(node.port, [with_header(phantom[0], tmp_path / "b.dcm", PatientID="OTHER")], called=AE_TITLE)

    assert answer.statuses == (0xC001,)


def test_a_corrected_name_on_the_same_image_changes_nothing(
    node: RunningNode, phantom: list[Path], tmp_path: Path
) -> None:
    dcmsend(node.port, phantom, called=AE_TITLE)
    node.wait_settled(1)

    (answer,) = dcmsend(node.port, [with_header(phantom[0], tmp_path / "c.dcm", PatientName="X^Y")], called=AE_TITLE)

    assert answer.statuses == (0x0000,)
    assert len(node.sets()) == 1


def test_slices_of_two_patients_under_one_series_uid_are_not_processed(
    node: RunningNode, phantom: list[Path], tmp_path: Path
) -> None:
    mixed = [with_header(phantom[0], tmp_path / "m.dcm", PatientID="OTHER"), *phantom[1:]]
    dcmsend(node.port, mixed, called=AE_TITLE)
    node.wait_settled(1)

    (one,) = node.sets()
    assert "the slices name 2 different patients" in one["reasons"]["ct"]
    assert node.jobs() == []


def test_an_aborted_association_is_no_evidence_of_a_complete_series(node: RunningNode, phantom: list[Path]) -> None:
    broken = associate(node.port, phantom, called=AE_TITLE)
    assert [store(broken, path) for path in phantom[:6]] == [0x0000] * 6
    broken.abort()
    wait_until("the abort is noted", lambda: 'status="0x0000"' in node.metrics(), timeout_s=10)
    dcmsend(node.port, phantom, called=AE_TITLE)
    node.wait_settled(1)

    (_one,) = node.sets()
    assert len(node.jobs()) == 1
    (series,) = {job["source_series_uid"] for job in node.jobs()}
    assert node.show(series)["sets"][0]["instances"] == SLICES
