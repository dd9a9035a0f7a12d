"""Orthanc by REST: results in with labels and metadata, series out after Orthanc's stable event; and faulty servers."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from node import app, web
from node.demo.phantom import make_series
from node.errors import Refuse
from node.peers.carrier import Answer, Broken, Busy, Consignment, Fate, Item, Unreachable
from node.peers.web.orthanc import Gone, OrthancCarrier, OrthancClient
from node.records import evidence, instances, sets, sources
from node.records.database import Records
from node.records.evidence import Source
from node.settings import Settings, parse
from node.settings.web import OrthancDestination, OrthancSource
from tests.peers import HOST, Orthanc, wait_until
from tests.running_node import cli, settings_for, write_toml
from tests.scripted_http import Reply, ScriptedServer

SLICES = 5


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_series(tmp_path_factory.mktemp("phantom"), slices=SLICES)


@pytest.fixture(scope="module")
def items(series: list[Path]) -> list[Item]:
    headers = [(path, pydicom.dcmread(path, stop_before_pixels=True)) for path in series]
    return [Item(sop_class_uid=h.SOPClassUID, sop_instance_uid=h.SOPInstanceUID, path=path) for path, h in headers]


@pytest.fixture(scope="module")
def consignment(series: list[Path]) -> Consignment:
    header = pydicom.dcmread(series[0], stop_before_pixels=True)
    return Consignment(
        job_id="job",
        pipeline="ct-denoise",
        pipeline_version="1.0.0",
        study_uid=header.StudyInstanceUID,
        series_uid=header.SeriesInstanceUID,
    )


def destination(url: str, **more: Any) -> OrthancDestination:
    usual = {"connect_timeout_s": 2.0, "response_timeout_s": 2.0}
    return OrthancDestination.model_validate({"kind": "orthanc", "name": "orthanc", "url": url, **usual, **more})


def carry(settings: OrthancDestination, consignment: Consignment, items: list[Item]) -> list[Answer]:
    answers: list[Answer] = []

    def answered(index: int, answer: Answer) -> bool:
        answers.append(answer)
        return answer.fate is not Fate.LATER

    OrthancCarrier(settings).carry(consignment, items, before=lambda index: None, answered=answered)
    return answers


@pytest.mark.peers
def test_files_arrive_unchanged_with_metadata_and_a_second_time_changes_nothing(
    orthanc: Orthanc, consignment: Consignment, items: list[Item]
) -> None:
    settings = destination(
        orthanc.url, labels=["ai-denoised", "research"], metadata={"1024": "made by a network"}, response_timeout_s=20.0
    )
    carrier = OrthancCarrier(settings)
    carrier.probe()
    wanted = frozenset(item.sop_instance_uid for item in items)
    assert carrier.held(consignment, wanted) == frozenset()
    assert carrier.instances_related(study_uid=consignment.study_uid, series_uid=consignment.series_uid) is None

    assert [answer.status for answer in carry(settings, consignment, items)] == ["stored"] * SLICES
    assert [answer.status for answer in carry(settings, consignment, items)] == ["found"] * SLICES

    assert carrier.held(consignment, wanted | {"1.2.3"}) == wanted
    assert carrier.instances_related(study_uid=consignment.study_uid, series_uid=consignment.series_uid) == SLICES
    with contextlib.closing(OrthancClient(settings)) as client:
        series_id = client.series_id(consignment.series_uid)
        assert series_id is not None
        old = client.version() < (1, 12, 0)
    stored = {orthanc.download(one) for one in orthanc.series()[consignment.series_uid]}
    assert stored == {item.path.read_bytes() for item in items}
    assert orthanc.api.series.get_string_metadata(series_id, "1024") == "made by a network"
    if old:  # Debian's: no labels yet
        assert orthanc.api.series.get_string_metadata(series_id, "4096") == "ai-denoised,research"
    else:
        assert sorted(orthanc.api.series.get_labels(series_id)) == ["ai-denoised", "research"]


def test_a_newer_orthanc_gets_labels_once(consignment: Consignment, items: list[Item]) -> None:
    labels: list[str] = ["research"]

    def newer(asked: Any) -> Reply:
        if asked.path == "/instances":
            return _json({"ID": "i", "ParentSeries": "s", "Status": "Success"})
        if asked.path == "/system":
            return _json({"Version": "1.12.4"})
        if asked.path == "/series/s/labels":
            return _json(labels)
        assert asked.method == "PUT"
        labels.append(asked.path.rpartition("/")[2])
        return _json({})

    with ScriptedServer(newer) as server:
        carry(destination(server.url, labels=["ai-denoised", "research"]), consignment, items)
    assert labels == ["research", "ai-denoised"]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(hang_up=True), Broken),
        (Reply(body=b'{"ID": "i", "ParentSeries": "s", "Status": "Success"}', cut=20), Broken),
        (Reply(wait_s=4.0), Broken),
        (Reply(status=500, body=b"{}"), Broken),
        (Reply(status=409, body=b"<html>"), Broken),
        (Reply(body=b"<html>hello</html>"), Broken),
        (Reply(body=b"[1, 2]"), Broken),
        (Reply(status=503), Busy),
        (Reply(status=507), Busy),
        (Reply(status=401), Unreachable),
        (Reply(status=302, headers={"Location": "http://127.0.0.1:1/"}), Unreachable),
    ],
    ids=lambda value: str(getattr(value, "status", getattr(value, "__name__", ""))),
)
def test_an_upload_without_a_clear_answer_is_not_repeated(
    reply: Reply, kind: type[Exception], consignment: Consignment, items: list[Item]
) -> None:
    with ScriptedServer(reply) as server, pytest.raises(kind):
        carry(destination(server.url), consignment, items)
    assert [(asked.method, asked.path) for asked in server.asked] == [("POST", "/instances")]


def test_what_orthanc_calls_no_dicom_is_refused_for_good(consignment: Consignment, items: list[Item]) -> None:
    with ScriptedServer(Reply(status=400, body=b'{"OrthancStatus": 15}')) as server:
        answers = carry(destination(server.url), consignment, items[:2])
    assert answers == [Answer(fate=Fate.NEVER, status="400")] * 2


def test_nobody_there_is_said(consignment: Consignment, items: list[Item], free_port: int) -> None:
    with pytest.raises(Unreachable, match="no connection"):
        carry(destination(f"http://{HOST}:{free_port}"), consignment, items)


def _json(value: Any) -> Reply:
    return Reply(body=json.dumps(value).encode(), headers={"Content-Type": "application/json"})


class Fetching:
    """The web part with one source, in this process."""

    def __init__(self, folder: Path, url: str, **more: Any) -> None:
        raw = settings_for(folder)
        source = {"kind": "orthanc", "name": "old-archive", "url": url, "poll_s": 0.2, "retry_longest_s": 0.5}
        raw["sources"] = [{**source, "connect_timeout_s": 2.0, "response_timeout_s": 5.0, "history": True, **more}]
        self.settings: Settings = parse(raw, source="the test")
        app.prepare_state(self.settings)
        self.records = Records(self.settings.node.state.absolute())

    def running(self) -> Any:
        return web.serving(self.settings)

    def stored(self, items: list[Item]) -> int:
        with self.records.read() as connection:
            return sum(instances.by_uid(connection, item.sop_instance_uid) is not None for item in items)

    def position(self) -> int | None:
        with self.records.read() as connection:
            return sources.position(connection, "old-archive")


@pytest.fixture
def fetching(tmp_path: Path, orthanc: Orthanc) -> Iterator[Fetching]:
    found = Fetching(tmp_path, orthanc.url)
    yield found
    found.records.close()


@pytest.mark.peers
def test_a_stable_series_is_fetched_once_with_evidence(
    orthanc: Orthanc, fetching: Fetching, items: list[Item], consignment: Consignment
) -> None:
    for item in items:
        orthanc.api.upload_file(str(item.path))
    with fetching.running():
        wait_until("all is here", lambda: fetching.stored(items) == SLICES)
        wait_until("all events are read", lambda: fetching.position() == orthanc.get("changes?last")["Last"])

    with fetching.records.read() as connection:
        (said,) = evidence.of_series(connection, consignment.series_uid)
        assert (said.source, said.instances, said.study_uid) == (Source.STABLE, SLICES, consignment.study_uid)
        found = instances.by_uid(connection, items[0].sop_instance_uid)
        assert found is not None
        assert found.header["CallingAETitle"] == ("OLD-ARCHIVE",)
        (association,) = instances.associations(connection, [found.association])
        assert association["ending"] == "released"
        spooled = fetching.settings.node.state.absolute() / "spool" / "in"
        assert sets.series_uids(connection) == [consignment.series_uid]
    source = pydicom.dcmread(items[0].path)
    (kept,) = [one for one in spooled.rglob("*.dcm") if pydicom.dcmread(one).SOPInstanceUID == source.SOPInstanceUID]
    assert pydicom.dcmread(kept) == source

    # A second start, and an Orthanc that restarts, fetch nothing again.
    files = set(spooled.rglob("*.dcm"))
    orthanc.stop()
    with fetching.running():
        time.sleep(1.5)
        orthanc.start()
        extra = make_series(fetching.settings.node.state / "more", slices=SLICES + 1)
        for path in extra:
            orthanc.api.upload_file(str(path))
        late = _items(extra)
        wait_until("the late slices are here", lambda: fetching.stored(late) == len(late), timeout_s=60)
    assert files < set(spooled.rglob("*.dcm"))
    with fetching.records.read() as connection:
        assert [one.instances for one in evidence.of_series(connection, consignment.series_uid)][-1] == len(
            {
                i.sop_instance_uid
                for i in [*items, *late]
                if pydicom.dcmread(i.path).SeriesInstanceUID == consignment.series_uid
            }
        )


def _items(paths: list[Path]) -> list[Item]:
    headers = [(path, pydicom.dcmread(path, stop_before_pixels=True)) for path in paths]
    return [Item(sop_class_uid=h.SOPClassUID, sop_instance_uid=h.SOPInstanceUID, path=path) for path, h in headers]


@pytest.mark.peers
def test_other_modalities_and_what_was_there_before_are_left(
    orthanc: Orthanc, tmp_path: Path, items: list[Item]
) -> None:
    for item in items:
        orthanc.api.upload_file(str(item.path))
    wait_until("Orthanc calls it stable", lambda: _stable(orthanc), timeout_s=30)
    for number, more in enumerate(({"history": False}, {"modalities": ["MR"]})):
        one = Fetching(tmp_path / str(number), orthanc.url, **more)
        with one.running():
            wait_until("all events are read", lambda one=one: one.position() == orthanc.get("changes?last")["Last"])
        assert one.stored(items) == 0
        one.records.close()


def _stable(orthanc: Orthanc) -> bool:
    return any(change["ChangeType"] == "StableSeries" for change in orthanc.get("changes")["Changes"])


def test_a_file_that_is_cut_off_leaves_nothing_and_is_fetched_again(tmp_path: Path, items: list[Item]) -> None:
    whole = [item.path.read_bytes() for item in items]
    cuts = {"i1": 2, "i3": 1}  # how often each download breaks
    header = pydicom.dcmread(items[0].path, stop_before_pixels=True)

    def flaky(asked: Any) -> Reply:
        path = asked.path
        if path.startswith("/changes"):
            since = 0 if "since=" not in path else int(path.partition("since=")[2].partition("&")[0])
            event = {
                "ChangeType": "StableSeries",
                "Date": "20260101T000000",
                "ID": "s",
                "Seq": 7,
                "ResourceType": "Series",
            }
            return _json({"Changes": [event] if since < 7 and "last" not in path else [], "Done": True, "Last": 7})
        if path == "/series/s":
            tags = {"Modality": "CT", "SeriesInstanceUID": header.SeriesInstanceUID}
            return _json({"MainDicomTags": tags, "ParentStudy": "t"})
        if path == "/studies/t":
            return _json({"MainDicomTags": {"StudyInstanceUID": header.StudyInstanceUID}})
        if path == "/series/s/instances":
            return _json(
                [
                    {"ID": f"i{n}", "MainDicomTags": {"SOPInstanceUID": item.sop_instance_uid}}
                    for n, item in enumerate(items)
                ]
            )
        name = path.split("/")[2]
        cuts[name] = cuts.get(name, 0) - 1
        return Reply(body=whole[int(name[1:])], cut=300_000 if cuts[name] >= 0 else None)

    with ScriptedServer(flaky) as server:
        one = Fetching(tmp_path, server.url)
        with one.running():
            wait_until("all is here", lambda: one.stored(items) == SLICES and one.position() == 7)
        downloads = [asked.path for asked in server.asked if asked.path.endswith("/file")]
    assert len(downloads) == SLICES + 3, "only what was cut off is fetched again"
    with one.records.read() as connection:
        found = [instances.by_uid(connection, item.sop_instance_uid) for item in items]
        endings = {a["ending"] for a in instances.associations(connection, [f.association for f in found if f])}
    assert "released" in endings
    one.records.close()


def test_a_web_part_whose_reader_ended_says_so(tmp_path: Path, free_port: int) -> None:
    part = web.Web(readers=[threading.Thread(target=lambda: None)])
    with pytest.raises(Refuse, match="reader of a source ended"):
        part.require_alive()


def test_a_resource_that_is_gone_is_told_apart(free_port: int) -> None:
    with ScriptedServer(Reply(status=404)) as server:
        site = OrthancSource.model_validate({"kind": "orthanc", "name": "o", "url": server.url})
        with contextlib.closing(OrthancClient(site)) as client, pytest.raises(Gone):
            client.series_info("x")


def test_a_secret_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    raw = settings_for(tmp_path)
    site = {"name": "away", "url": "https://archive.example", "token_file": str(tmp_path / "none")}
    raw["sources"] = [{"kind": "orthanc", **site}]
    status, _, trouble = cli("run", "-c", write_toml(tmp_path / "node.toml", raw))
    assert status == 2
    assert "cannot be read" in trouble
