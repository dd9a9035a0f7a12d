"""By HTTP all the way: a series comes by STOW-RS or from an Orthanc, and its derived series goes out by both."""

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dicomweb_client import DICOMwebClient

from node.demo.phantom import make_series
from tests.peers import HOST, Orthanc, free_port, wait_until
from tests.running_node import RunningNode, cli, settings_for, write_toml

pytestmark = pytest.mark.peers
SLICES = 16


def settings(folder: Path, *, vna: Orthanc, orthanc: Orthanc) -> dict[str, Any]:
    """A node between them: `vna` gets results by STOW-RS; `orthanc` gives series and gets results, by REST."""
    patience = {"connect_timeout_s": 5.0, "response_timeout_s": 20.0, "probe_s": 2.0, "retry_longest_s": 3.0}
    raw = settings_for(folder)
    raw["destinations"] = [
        {"kind": "dicomweb", "name": "vna", "url": vna.dicomweb_url, "request_instances": 4, **patience},
        {
            "kind": "orthanc", "name": "research", "url": orthanc.url, **patience,
            "labels": ["ai"], "metadata": {"1024": "ai"},
        },
    ]  # fmt: skip
    raw["rules"] = [{**raw["rules"][0], "destinations": ["vna", "research"]}]
    raw["assemble"] = {"ask": "research"}
    raw["stow"] = {"host": HOST, "port": free_port(), "senders": [{"ae_title": "WEB-CT"}]}
    raw["sources"] = [
        {
            "kind": "orthanc",
            "name": "gateway",
            "url": orthanc.url,
            "poll_s": 0.3,
            "retry_longest_s": 1.0,
            "history": True,
        }
    ]
    return raw


def derived(archive: Orthanc, source_series: str) -> dict[str, bytes]:
    """SOP Instance UID -> file, of every series but the source."""
    files = {}
    for uid, ids in archive.series().items():
        if uid != source_series:
            for one in ids:
                file = archive.download(one)
                files[archive.get(f"instances/{one}/simplified-tags")["SOPInstanceUID"]] = file
    return files


def store(raw: dict[str, Any], files: list[Path]) -> None:
    answer = DICOMwebClient(f"http://{HOST}:{raw['stow']['port']}", timeout=60).store_instances(
        [pydicom.dcmread(path) for path in files]
    )
    assert len(answer.ReferencedSOPSequence) == len(files)


def test_from_orthanc_to_both_and_nothing_twice(tmp_path: Path) -> None:
    files = make_series(tmp_path / "phantom", slices=SLICES)
    source = pydicom.dcmread(files[0]).SeriesInstanceUID
    with (
        Orthanc(tmp_path / "vna", dicomweb=True) as vna,
        Orthanc(tmp_path / "research") as research,
        contextlib.nullcontext(settings(tmp_path, vna=vna, orthanc=research)) as raw,
        RunningNode(tmp_path, raw) as node,
    ):
        for path in files:
            research.api.upload_file(str(path))
        node.wait_settled(1, timeout_s=120)

        (job,) = node.jobs()
        assert job["state"] == "delivered"
        (one,) = node.sets()
        made = derived(vna, source)
        assert len(made) == SLICES
        assert derived(research, source) == made, "both have the same bytes"
        kept = sorted((node.settings.node.state.absolute() / "spool" / "out").rglob("*.dcm"))
        assert sorted(made.values()) == sorted(path.read_bytes() for path in kept)
        series_id = next(
            s["ID"] for s in research.get("series?expand") if s["MainDicomTags"]["SeriesInstanceUID"] != source
        )
        assert research.api.series.get_string_metadata(series_id, "1024") == "ai"

        # The derived series is a stable series of that Orthanc, too: it is not taken for an examination.
        wait_until("Orthanc speaks of the derived series", lambda: _stable(research) >= 2)
        time.sleep(2.0)
        # The same examination by another door: nothing new.
        store(raw, files)
        time.sleep(3.0)
        assert node.sets() == [one]
        assert len(node.jobs()) == 1
        assert (vna.count(), research.count()) == (SLICES, 2 * SLICES)
        assert b'"ready":true' in node.get("/health/ready")

        code, said, _ = cli("check", "-c", node.file, "--json")
        lines = {line["what"]: line for line in json.loads(said)["lines"]}
        assert all(
            lines[name]["good"] for name in ("destination vna", "destination research", "source gateway", "stow")
        )
        assert code == 0


def _stable(archive: Orthanc) -> int:
    return sum(change["ChangeType"] == "StableSeries" for change in archive.get("changes?limit=1000")["Changes"])


def test_archives_that_go_away_in_mid_delivery_get_the_rest_once(tmp_path: Path) -> None:
    files = make_series(tmp_path / "phantom", slices=SLICES)
    source = pydicom.dcmread(files[0]).SeriesInstanceUID
    vna, research = Orthanc(tmp_path / "vna", dicomweb=True), Orthanc(tmp_path / "research")
    raw = settings(tmp_path, vna=vna, orthanc=research)
    del raw["assemble"], raw["sources"]
    with vna, research, RunningNode(tmp_path, raw) as node:
        store(raw, files)
        wait_until("first results arrive", lambda: vna.count() >= 1, timeout_s=90, every_s=0.02)
        vna.stop(kill=True)
        research.stop(kill=True)
        time.sleep(4.0)
        node.kill("worker")
        vna.start()
        research.start()
        node.wait_settled(1, timeout_s=120)
        (job,) = node.jobs()
        assert job["state"] == "delivered"
        made = derived(vna, source)
        assert len(made) == SLICES == vna.count() == research.count()
        assert derived(research, source) == made


def test_check_says_which_peer_by_http_is_down(tmp_path: Path) -> None:
    vna, research = Orthanc(tmp_path / "vna", dicomweb=True), Orthanc(tmp_path / "research")
    code, said, _ = cli(
        "check", "-c", write_toml(tmp_path / "node.toml", settings(tmp_path, vna=vna, orthanc=research)), "--json"
    )
    lines = {line["what"]: line for line in json.loads(said)["lines"]}
    assert [lines[name]["good"] for name in ("destination vna", "destination research", "source gateway", "stow")] == [
        False, False, False, None,
    ]  # fmt: skip
    assert code == 1
