"""What the receiver answers, over real associations, and what stands on the disk before it does."""

import re
import urllib.error
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import UID
from pynetdicom import AE

from node.demo.phantom import make_series
from node.dicom.classes import DOCUMENT_SYNTAXES, KEY_OBJECTS, STORAGE_CLASSES, TRANSFER_SYNTAXES, VERIFICATION
from node.dicom.part10 import split
from tests.hostile import RELEASE, Client, associate_rq
from tests.peers import HOST, dcmsend, promtool_check_metrics, run_tool
from tests.running_node import AE_TITLE, RunningNode, settings_for
from tests.senders import send_as_they_are
from tests.series import with_header


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_series(tmp_path_factory.mktemp("phantom"), slices=4)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    folder = tmp_path_factory.mktemp("node")
    with RunningNode(folder, settings_for(folder, receiver={"maximum_associations": 4})) as running:
        yield running


def rejection(node: RunningNode, *, calling: str = "OTHER", called: str = AE_TITLE) -> tuple[int, int, int] | None:
    """Result, source and reason of the A-ASSOCIATE-RJ (PS3.8 table 9-21), None if the node accepted.

    Read from the socket: pynetdicom's requestor loses a rejection that comes before its own thread has looked.
    """
    with Client(node.port) as client:
        kind, body = client.send(associate_rq(calling=calling, called=called)).pdu()
        if kind == 2:
            client.send(RELEASE)
            return None
        assert kind == 3, (kind, body)
        return body[1], body[2], body[3]


def test_the_bytes_in_the_spool_are_the_bytes_that_came(node: RunningNode, phantom: list[Path]) -> None:
    (sent,) = dcmsend(node.port, phantom, called=AE_TITLE)

    assert sent.stored == len(phantom)
    for path in phantom:
        meta, data_set = split(path)
        stored = node.received(meta.sop_instance_uid)
        assert split(stored)[1] == data_set
        assert stored.read_bytes()[:132] == b"\0" * 128 + b"DICM"


def test_echo_is_answered(node: RunningNode) -> None:
    assert rejection(node) is None


def test_a_stranger_is_rejected_with_the_reason_of_the_standard(node: RunningNode) -> None:
    assert rejection(node, calling="STRANGER") == (1, 1, 3)
    assert rejection(node, called="SOMEBODY-ELSE") == (1, 1, 7)


def test_a_known_title_from_another_address_is_rejected(tmp_path: Path) -> None:
    raw = settings_for(tmp_path)
    raw["peers"] = [{"name": "far", "ae_title": "OTHER", "addresses": ["192.0.2.0/24"]}]
    with RunningNode(tmp_path, raw) as running:
        assert rejection(running) == (1, 1, 3)


def test_beyond_the_limit_associations_are_rejected_for_now(node: RunningNode) -> None:
    ae = AE(ae_title="OTHER")
    ae.add_requested_context(VERIFICATION)
    held = [ae.associate(HOST, node.port, ae_title=AE_TITLE) for _ in range(4)]
    try:
        assert all(one.is_established for one in held)
        assert rejection(node) == (2, 3, 2)
    finally:
        for one in held:
            one.release()


def test_every_class_and_syntax_of_the_tables_is_accepted_and_lossy_ones_are_not(node: RunningNode) -> None:
    ae = AE(ae_title="OTHER")
    lossy = UID("1.2.840.10008.1.2.4.50")
    contexts = [(sop_class, syntax) for sop_class in STORAGE_CLASSES for syntax in (*TRANSFER_SYNTAXES, lossy)]
    contexts += [(KEY_OBJECTS, syntax) for syntax in (*DOCUMENT_SYNTAXES, lossy)]
    for sop_class, syntax in contexts:
        ae.add_requested_context(sop_class, syntax)
    association = ae.associate(HOST, node.port, ae_title=AE_TITLE)
    accepted = {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts}
    association.release()

    images = {(sop_class, syntax) for sop_class in STORAGE_CLASSES for syntax in TRANSFER_SYNTAXES}
    assert accepted == images | {(KEY_OBJECTS, syntax) for syntax in DOCUMENT_SYNTAXES}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"SeriesInstanceUID": None}, 0xA900),
        ({"SeriesInstanceUID": ""}, 0xA900),
        ({"StudyInstanceUID": "1.2.03"}, 0xC002),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, 0xA900),
    ],
)
def test_an_instance_that_contradicts_itself_is_refused(
    node: RunningNode, phantom: list[Path], tmp_path: Path, change: dict[str, object], status: int
) -> None:
    bad = tmp_path / "bad.dcm"
    with pytest.warns() if change.get("StudyInstanceUID") else nullcontext():
        with_header(phantom[0], bad, **{"SOPInstanceUID": "1.2.3.4", **change})
        file = pydicom.dcmread(bad)
        file.file_meta.MediaStorageSOPClassUID = pydicom.dcmread(phantom[0]).SOPClassUID
        file.save_as(bad)

    assert send_as_they_are(node.port, [bad], called=AE_TITLE) == [status]


def test_a_full_disk_is_answered_with_a700_and_sending_works_again_afterwards(
    tmp_path: Path, phantom: list[Path]
) -> None:
    raw = settings_for(tmp_path, node={"disk_reserve_mb": 1 << 30})
    with RunningNode(tmp_path, raw) as running:
        (sent,) = dcmsend(running.port, phantom, called=AE_TITLE)
        assert set(sent.statuses) == {0xA700}
        with pytest.raises(urllib.error.HTTPError, match="503"):
            running.get("/health/ready")
    with RunningNode(tmp_path, settings_for(tmp_path)) as running:
        (sent,) = dcmsend(running.port, phantom, called=AE_TITLE)
        assert sent.stored == len(phantom)


def test_the_metrics_page_is_valid_and_counts(node: RunningNode, phantom: list[Path]) -> None:
    dcmsend(node.port, phantom, called=AE_TITLE)
    node.wait_settled(1)
    page = node.metrics()

    assert promtool_check_metrics(page) == ""
    names = set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE))
    assert names >= {
        f"imaging_node_{name}"
        for name in (
            "associations_total", "instances_received_total", "received_bytes_total", "sets", "jobs", "stage_seconds",
            "queue_depth", "inference_seconds", "instances_delivered_total", "last_in_to_first_out_seconds",
            "disk_free_bytes", "instances_failed_total", "holds_total", "associations_refused_total",
        )
    }  # fmt: skip
    for stage in ("receive", "assemble", "route"):
        assert re.search(f'stage_seconds_count{{pipeline="",stage="{stage}"}} [1-9]', page)
    for stage in ("prepare", "infer", "check", "derive", "deliver"):
        assert f'imaging_node_stage_seconds_count{{pipeline="ct-denoise",stage="{stage}"}} 1.0' in page
    assert all(name.startswith("imaging_node_") for name in names)
    uid = str(pydicom.dcmread(phantom[0]).SeriesInstanceUID)
    assert uid not in page
    assert "PHANTOM" not in page


def test_health_says_who_is_missing(node: RunningNode) -> None:
    assert node.get("/health/live") == b'{"live":true}'
    assert b'"ready":true' in node.get("/health/ready")


def test_storescu_of_dcmtk_is_served_too(node: RunningNode, phantom: list[Path]) -> None:
    said = run_tool("storescu", "-v", "-aet", "STORESCU", "-aec", AE_TITLE, HOST, str(node.port), phantom[0])

    assert "0x0000" in said or "Success" in said, said
