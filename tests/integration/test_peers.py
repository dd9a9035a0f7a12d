"""The peers do what the other tests rely on: they keep what they hold over an outage and report what they are told."""

from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage

from node.demo import phantom
from tests import peers

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return phantom.make_series(tmp_path_factory.mktemp("phantom"), slices=6)


def test_archive_holds_after_an_outage_what_it_held_before(orthanc: peers.Orthanc, series: list[Path]) -> None:
    sent = peers.dcmsend(orthanc.port, series, called=orthanc.aet, associations=3)
    orthanc.stop(kill=True)
    assert not peers.listening(orthanc.port)

    orthanc.start()

    assert sum(one.stored for one in sent) == len(series)
    assert orthanc.count() == len(orthanc.instances()) == len(series)


def test_storescp_keeps_what_was_sent(storescp: peers.StoreScp, series: list[Path]) -> None:
    (sent,) = peers.storescu(storescp.port, series, called=storescp.aet)

    assert sent.returncode == 0
    assert sent.stored == len(series)
    # DCMTK writes its own file meta; the data set behind it has to be the same.
    held = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, storescp.files())}
    assert held == {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, series)}


def test_every_status_is_reported_as_the_number_it_was(series: list[Path]) -> None:
    statuses = [0x0000, 0xA700, 0xA900, 0xC001, 0x0124, 0xB000]
    answers = iter(statuses)
    scp = AE(ae_title="STATUSES")
    scp.add_supported_context(CTImageStorage)
    server = scp.start_server(
        (peers.HOST, 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _event: next(answers))]
    )
    try:
        (sent,) = peers.dcmsend(server.socket.getsockname()[1], series, called="STATUSES")
    finally:
        server.shutdown()

    assert list(sent.statuses) == statuses
    assert sent.stored == 1


def test_wrong_called_title_is_refused_by_the_archive(orthanc: peers.Orthanc, series: list[Path]) -> None:
    (sent,) = peers.dcmsend(orthanc.port, series, called="SOMEBODY")

    assert sent.returncode != 0
    assert sent.statuses == ()


def test_promtool_objects_to_what_is_no_metrics_page() -> None:
    assert peers.promtool_check_metrics("# HELP a_total x\n# TYPE a_total counter\na_total 1\n") == ""
    assert peers.promtool_check_metrics("a b c\n") != ""
