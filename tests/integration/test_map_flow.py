"""The map beside the images, through a node: it goes where a rule wants it, and is whole whatever died on the way."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE

from engines.store import load_spec
from node import app
from node.dicom import maps
from node.dicom.uids import form_series_uid, series_uid
from node.errors import BadSetting
from node.records import deliveries, jobs
from node.settings import parse
from node.stages import derive
from tests import map_phantom
from tests.map_node import KILLED_AT, PIPELINE, SPREAD, MapNode
from tests.peers import HOST, Orthanc, StoreScp, dcmsend, wait_until
from tests.running_node import AE_TITLE, ENDED, settings_for

pytestmark = [pytest.mark.peers, pytest.mark.timeout(900)]  # processes of a node start anew
SLICES, SIDE = 6, 128


def rule(name: str, protocol: str, *destinations: str, **more: Any) -> dict[str, Any]:
    where = {"ProtocolName": protocol}
    return {"name": name, "pipeline": "mr-with-map", "where": where, "destinations": list(destinations), **more}


def series(folder: Path, protocol: str) -> list[Path]:
    """Both protocols have the same images, of two studies."""

    def named(ds: Dataset, index: int) -> None:
        ds.ProtocolName = protocol
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(ds, keyword, f"{ds[keyword].value}.{len(protocol)}")
        # Large enough for the words in the overlay.
        ds.Rows = ds.Columns = SIDE
        ds.PixelData = np.random.default_rng(index).integers(0, 4096, (SIDE, SIDE), np.uint16).tobytes()

    return [Path(one) for one in map_phantom.series(folder, named, slices=SLICES)]


def send(node: MapNode, files: list[Path]) -> str:
    (sent,) = dcmsend(node.port, files, called=AE_TITLE)
    assert sent.stored == len(files), sent.output
    return str(pydicom.dcmread(files[0]).SeriesInstanceUID)


def delivered(node: MapNode, series_uid: str) -> dict[str, Any]:
    """The one job of a series, when it is everywhere."""

    def job() -> dict[str, Any]:
        found = [one for one in node.show(series_uid)["sets"] for one in one["jobs"]]
        return dict(found[0]) if found else {}

    wait_until(f"it ended; {node.tail()}", lambda: job().get("state") in ENDED, timeout_s=400)
    with closing(node.records()) as records, records.read() as connection:
        found = jobs.get(connection, job()["id"])
    assert found["state"] == "delivered", found["reason"]
    return found


def objects(paths: list[Path]) -> dict[str, list[Dataset]]:
    """Series Instance UID -> its objects."""
    found: dict[str, list[Dataset]] = {}
    for path in paths:
        ds = pydicom.dcmread(path)
        found.setdefault(str(ds.SeriesInstanceUID), []).append(ds)
    return found


@dataclass(frozen=True, kw_only=True)
class Run:
    """One node that sends maps to three archives and none to a folder."""

    node: MapNode
    storescp: StoreScp
    orthanc: Orthanc
    web: Orthanc
    folder: Path
    mapped: dict[str, Any]
    plain: dict[str, Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("maps")
    with (
        StoreScp(folder / "storescp") as storescp,
        Orthanc(folder / "orthanc") as orthanc,
        Orthanc(folder / "web", aet="WEB", dicomweb=True) as web,
    ):
        dicom = [
            {"kind": "dicom", "name": one.aet.lower(), "ae_title": one.aet, "host": HOST, "port": one.port}
            for one in (storescp, orthanc)
        ]
        others = [
            {"kind": "dicomweb", "name": "web", "url": web.dicomweb_url},
            {"kind": "folder", "name": "folder", "path": str(folder / "delivered")},
        ]
        rules = [
            rule("mapped", "MAP", "storescp", "orthanc", "web", map=True),
            rule("images", "MAP", "folder"),
            rule("plain", "PLAIN", "folder"),
        ]
        with MapNode(folder / "node", rules, [{**one, "synthetic": True} for one in (*dicom, *others)]) as node:
            uids = [send(node, series(folder / protocol, protocol)) for protocol in ("MAP", "PLAIN")]
            mapped, plain = (delivered(node, uid) for uid in uids)
            yield Run(
                node=node,
                storescp=storescp,
                orthanc=orthanc,
                web=web,
                folder=folder,
                mapped=mapped,
                plain=plain,
            )


def test_each_archive_that_is_to_have_the_map_has_it_in_a_series_of_its_own(run: Run) -> None:
    images, beside = run.mapped["series_uid"], form_series_uid(run.mapped["series_uid"], "map")

    at_storescp = objects(run.storescp.files())
    assert {uid: len(some) for uid, some in at_storescp.items()} == {images: SLICES, beside: 1}
    for archive in (run.orthanc, run.web):
        assert {uid: len(some) for uid, some in archive.series().items()} == {images: SLICES, beside: 1}
        (stored,) = archive.series()[beside]
        (path := run.folder / "copy.dcm").write_bytes(archive.download(stored))
        assert pydicom.dcmread(path) == at_storescp[beside][0]


def test_the_map_shows_what_the_pipeline_said(run: Run) -> None:
    found = objects(run.storescp.files())
    (shown,) = found[form_series_uid(run.mapped["series_uid"], "map")]
    images = sorted(found[run.mapped["series_uid"]], key=lambda ds: int(ds.InstanceNumber))
    mapping = shown.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    values = shown.pixel_array * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept

    made = np.stack([ds.pixel_array for ds in images])
    assert np.abs(values - SPREAD * made).max() <= mapping.RealWorldValueSlope / 2 * 1.01
    assert shown.SOPClassUID == maps.SOP_CLASS_UID
    assert shown.SeriesNumber == 4022
    assert {int(ds.SeriesNumber) for ds in images} == {4021}
    assert shown.SeriesDescription.startswith("AI UNCERTAINTY MAP")
    places = [one.PlanePositionSequence[0].ImagePositionPatient for one in shown.PerFrameFunctionalGroupsSequence]
    assert places == [ds.ImagePositionPatient for ds in images]


def test_a_destination_of_another_rule_gets_the_same_images_and_no_map(run: Run) -> None:
    found = objects([*(run.folder / "delivered").rglob("*.dcm")])

    assert {uid: len(some) for uid, some in found.items()} == {
        run.mapped["series_uid"]: SLICES,
        run.plain["series_uid"]: SLICES,
    }
    assert run.mapped["maps"] == ["storescp", "orthanc", "web"]


def test_without_a_rule_for_it_there_is_no_map(run: Run) -> None:
    assert (run.plain["state"], run.plain["maps"], run.plain["map_series_number"]) == ("delivered", [], None)
    with closing(run.node.records()) as records, records.read() as connection:
        made = jobs.results(connection, run.plain["id"])
        sent = {one["destination"]: one["instances"] for one in deliveries.of_job(connection, run.mapped["id"])}

    assert len(made) == SLICES
    assert not [file for file, _ in made.values() if "map" in file]
    assert sent == {"storescp": SLICES + 1, "orthanc": SLICES + 1, "web": SLICES + 1, "folder": SLICES}


def test_a_map_never_comes_in(run: Run) -> None:
    """Its class is none that the node takes: the loop guard has nothing to look at."""
    (path,) = [path for path in run.storescp.files() if pydicom.dcmread(path).SOPClassUID == maps.SOP_CLASS_UID]
    ds = pydicom.dcmread(path)
    ae = AE(ae_title="STORESCU")
    ae.add_requested_context(maps.SOP_CLASS_UID)
    ae.add_requested_context(map_phantom.MR)
    association = ae.associate(HOST, run.node.port, ae_title=AE_TITLE)
    assert association.is_established
    try:
        assert [one.abstract_syntax for one in association.accepted_contexts] == [map_phantom.MR]
        assert [(one.abstract_syntax, one.result) for one in association.rejected_contexts] == [(maps.SOP_CLASS_UID, 3)]
        with pytest.raises(ValueError, match="No presentation context"):
            association.send_c_store(ds)
    finally:
        association.release()


def name_without_a_map(job: dict[str, Any], study_uid: str, engines: Path) -> str:
    """The series UID that a job without a map has: nothing in it knows of maps."""
    spec = load_spec("same", engines)
    chosen = derive.parameters(PIPELINE, spec, job["parameters"])
    return series_uid(
        kind="SCE",
        study_uid=study_uid,
        model=spec.name,
        version=spec.version,
        weights_sha256=spec.sha256,
        parameters_sha256=hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest(),
        input_digest=job["input_digest"],
        generation=0,
    )


def test_a_worker_that_is_killed_in_the_middle_leaves_a_whole_map_to_the_next(tmp_path: Path) -> None:
    target = {"kind": "folder", "name": "folder", "path": str(tmp_path / "delivered"), "synthetic": True}
    with MapNode(tmp_path, [rule("mapped", "PLAIN", "folder", map=True)], [target]) as node:
        (tmp_path / "kill").touch()
        uid = send(node, series(tmp_path / "in", "PLAIN"))
        wait_until(f"the worker died; {node.tail()}", lambda: node.ended("worker"), timeout_s=240)
        assert not (tmp_path / "kill").exists()
        node.start("worker")
        job = delivered(node, uid)

    calls = len((tmp_path / "made").read_text().split())
    assert calls == SLICES + 1, "those that were whole are not made again, and the one in the making is"
    assert calls > KILLED_AT
    found = objects([*(tmp_path / "delivered").rglob("*.dcm")])
    study_uid = str(pydicom.dcmread(tmp_path / "in/00.dcm").StudyInstanceUID)
    expected = name_without_a_map(job, study_uid, tmp_path / "engines")
    assert job["series_uid"] == expected, "a map changes no name of an image"
    (shown,) = found[form_series_uid(job["series_uid"], "map")]
    images = sorted(found[job["series_uid"]], key=lambda ds: int(ds.InstanceNumber))
    mapping = shown.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    values = shown.pixel_array * mapping.RealWorldValueSlope
    made = np.stack([ds.pixel_array for ds in images])
    assert np.abs(values - SPREAD * made).max() <= mapping.RealWorldValueSlope / 2 * 1.01


def settings(folder: Path, *, map_wanted: bool, pipeline: str = "mr-with-map") -> Any:
    raw = settings_for(folder, rules=[{"name": "one", "pipeline": pipeline, "map": map_wanted}])
    raw["destinations"][0]["synthetic"] = True
    return parse(raw, source="the test")


def test_a_rule_that_nothing_can_fulfil_is_said_before_a_port_opens(tmp_path: Path) -> None:
    assert app.pipelines_of(settings(tmp_path, map_wanted=True), [PIPELINE])
    with pytest.raises(BadSetting, match="ct-denoise makes none"):
        app.pipelines_of(settings(tmp_path, map_wanted=True, pipeline="ct-denoise"), [PIPELINE])
    assert app.pipelines_of(settings(tmp_path, map_wanted=False), [PIPELINE])
