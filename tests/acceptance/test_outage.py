"""A destination that goes away: nothing is lost, nothing arrives twice, others do not wait.

python -m tests.acceptance.test_outage 120     the same with an outage of so many seconds
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from node.demo.phantom import make_series
from tests.peers import Orthanc, StoreScp, dcmsend, wait_until
from tests.running_node import AE_TITLE, RunningNode, cli, settings_for

SLICES = 24


def outage(folder: Path, seconds: float) -> dict[str, float]:
    """Kill an archive in mid-delivery, leave it down, start it again; asserts that all arrives, once."""
    files = make_series(folder / "phantom", slices=SLICES)
    orthanc, storescp = Orthanc(folder / "orthanc"), StoreScp(folder / "storescp")
    node = RunningNode(folder, settings_for(folder, destinations=[orthanc, storescp]))
    with orthanc, storescp, node:
        dcmsend(node.port, files, called=AE_TITLE)
        wait_until("the first derived slices arrive", lambda: orthanc.count() >= 3, timeout_s=60, every_s=0.02)
        orthanc.stop(kill=True)
        wait_until("the other archive has all", lambda: len(storescp.files()) == SLICES, timeout_s=60)
        time.sleep(seconds)
        (job,) = node.jobs()
        assert job["state"] == "delivering"
        assert 'imaging_node_deliveries_waiting{destination="orthanc"}' in node.metrics()
        orthanc.start()
        back = time.monotonic()
        node.wait_settled(1, timeout_s=90)
        resumed_s = time.monotonic() - back

        (job,) = node.jobs()
        assert job["state"] == "delivered"
        assert orthanc.count() == SLICES
        assert len(storescp.files()) == SLICES
        rows = node.show(job["source_series_uid"])["sets"][0]["jobs"][0]["destinations"]
        assert {row["destination"]: row["confirmed"] for row in rows} == {"orthanc": SLICES, "storescp": SLICES}
    return {"outage_s": seconds, "delivered": SLICES, "twice": 0, "all_there_after_s": round(resumed_s, 1)}


def test_a_destination_that_dies_in_mid_delivery_gets_the_rest_once(tmp_path: Path) -> None:
    assert outage(tmp_path, 8.0)["delivered"] == SLICES


def test_a_peer_that_refuses_for_good_becomes_a_dead_letter_that_replay_revives(tmp_path: Path) -> None:
    files = make_series(tmp_path / "phantom", slices=4)
    # Orthanc rejects an association that calls it by another title than its own.
    with Orthanc(tmp_path / "orthanc") as orthanc:
        raw = settings_for(tmp_path, destinations=[orthanc])
        raw["destinations"][0] |= {"ae_title": "NOBODY", "retry_hours": 0.002}
        with RunningNode(tmp_path, raw) as node:
            dcmsend(node.port, files, called=AE_TITLE)
            node.wait_settled(1, timeout_s=90)
            (job,) = node.jobs()
            assert job["state"] == "dead"
            assert "rejected the association" in job["reason"]
        raw["destinations"][0] |= {"ae_title": orthanc.aet, "retry_hours": 72.0}
        with RunningNode(tmp_path, raw) as node:
            code, said, trouble = cli("replay", "-c", node.file, job["source_series_uid"], "--json")
            assert code == 0, trouble
            assert "delivery to orthanc" in said
            wait_until("the dead letter arrives", lambda: orthanc.count() == len(files), timeout_s=60)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        sys.stdout.write(json.dumps(outage(Path(scratch), float(sys.argv[1]))) + "\n")
