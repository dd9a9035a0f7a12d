"""Completeness by asking the archive: Number of Series Related Instances (0020,1209) of a real Orthanc."""

import time
from pathlib import Path

from node.demo.phantom import make_series
from tests.peers import Orthanc, dcmsend, free_port, wait_until
from tests.running_node import AE_TITLE, RunningNode, settings_for


def test_the_archives_count_decides_and_a_missing_slice_is_waited_for(tmp_path: Path) -> None:
    files = make_series(tmp_path / "phantom", slices=6)
    port = free_port()
    with Orthanc(tmp_path / "orthanc", node=(AE_TITLE, port)) as orthanc:
        (sent,) = dcmsend(orthanc.port, files, called=orthanc.aet)
        assert sent.stored == len(files)
        raw = settings_for(
            tmp_path, destinations=[orthanc], port=port, assemble={"ask": "orthanc", "settle_s": 0.3, "quiet_s": 120.0}
        )
        with RunningNode(tmp_path, raw) as node:
            dcmsend(node.port, files[:-1], called=AE_TITLE)  # contiguous, released, and still one short
            time.sleep(4.0)
            assert node.sets() == [], "five even slices are not complete when the archive has six"
            dcmsend(node.port, files[-1:], called=AE_TITLE)
            wait_until("the set is complete", lambda: len(node.sets()) == 1, timeout_s=30)
            node.wait_settled(1)

            (one,) = node.sets()
            assert one["evidence"] == "the archive has 6 instances of the series, 6 are here"
            (job,) = node.jobs()
            assert job["state"] == "delivered"
            assert orthanc.count() == 2 * len(files)
