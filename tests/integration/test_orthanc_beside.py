"""Orthanc beside a node, as deploy/orthanc sets it up: by C-STORE, by DICOMweb, and by Orthanc's own REST interface.

An Orthanc for each way and one node: what comes to it goes back the same way, because its rules ask who sent it.
"""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests

from node.demo.ct_series import uid
from node.demo.phantom import make_series
from node.worklist.objects.rejection import write_rejection
from tests import dicom_phantom, triage_phantom
from tests.authority import Authority
from tests.orthanc_beside import NODE_PASSWORD, SENDER, STOW_TOKEN, Beside
from tests.peers import HOST, dcmsend, free_port, run_tool, wait_until
from tests.running_node import RunningNode, settings_for

pytestmark = pytest.mark.peers
SLICES = 16


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a series travels: under which title the node knows the sender, and what makes the series hard to keep."""

    title: str
    compressor: tuple[str, ...]
    character_set: str
    name: str


WAYS = {
    "dicom": Way(title="ORTHANC", compressor=("dcmcjpls",), character_set="\\ISO 2022 IR 87", name="山田^太郎"),
    "tls": Way(title="ORTHANC-TLS", compressor=("dcmconv", "+ti"), character_set="ISO_IR 192", name="Ångström^Ðóra"),
    "dicomweb": Way(title="WEB-ORTHANC", compressor=("dcmcjpeg",), character_set="ISO_IR 126", name="Διον^Ερμης"),
    "rest": Way(title="REST-ORTHANC", compressor=("dcmcrle",), character_set="GB18030", name="Wang^XiaoDong=王^小东"),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One Orthanc, and what it was sent. `kept`: digests of the source's files in Orthanc while the node was down."""

    orthanc: Beside
    node: RunningNode
    files: list[Path]
    source: str
    series_id: str
    kept: list[str]

    def digests(self) -> list[str]:
        return digests(self.orthanc, self.source)

    def results(self) -> list[dict[str, Any]]:
        """Other series of the source's study, as Orthanc describes them."""
        study = self.orthanc.get(f"series/{self.series_id}")["ParentStudy"]
        every = self.orthanc.get("series?expand")
        return [one for one in every if one["ParentStudy"] == study and one["ID"] != self.series_id]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Case]]:
    """A series becomes stable while the node is down, Orthanc is killed over it, and the node comes up after that."""
    folder = tmp_path_factory.mktemp("beside")
    port, tls_port, stow_port = free_port(), free_port(), free_port()
    authority = Authority(folder / "ca")
    own, peer = authority.sign("node"), authority.sign("orthanc")
    orthancs = {way: Beside(folder / way, node_port=port, stow_port=stow_port, way=way) for way in WAYS if way != "tls"}
    orthancs["tls"] = Beside(
        folder / "tls", node_port=tls_port, stow_port=stow_port, way="dicom", aet=WAYS["tls"].title, tls=peer
    )
    with ExitStack() as stack, ThreadPoolExecutor() as together:
        for orthanc in orthancs.values():
            stack.callback(orthanc.stop)
        list(together.map(Beside.start, orthancs.values()))
        plain = make_series(folder / "plain", slices=SLICES)
        sent = {way: hard_to_keep(folder / f"{way}-files", plain, WAYS[way]) for way in WAYS}
        for way, orthanc in orthancs.items():
            send(orthanc, sent[way])
        for way, orthanc in orthancs.items():
            wait_until("it was tried", lambda o=orthanc, w=way: o.stands()["sent" if w == "rest" else "trouble"])
        raw = settings(folder, orthancs, port=port, stow_port=stow_port)
        tls = {"certificate": str(own.certificate), "key": str(own.key), "ca": str(own.ca)}
        raw["receiver"]["tls"] = {"port": tls_port, **tls}
        raw["destinations"][1]["tls"] = tls
        node = RunningNode(folder, raw)
        made = {}
        for way, orthanc in orthancs.items():
            source = str(pydicom.dcmread(sent[way][0], stop_before_pixels=True).SeriesInstanceUID)
            made[way] = Case(
                orthanc=orthanc,
                node=node,
                files=sent[way],
                source=source,
                series_id=orthanc.id_of(source),
                kept=digests(orthanc, source),
            )
            orthanc.stop(kill=True)
        list(together.map(Beside.start, orthancs.values()))
        stack.enter_context(node)
        yield made


@pytest.fixture(params=WAYS)
def case(request: pytest.FixtureRequest, cases: dict[str, Case]) -> Case:
    return cases[request.param]


def send(orthanc: Beside, files: list[Path]) -> None:
    if orthanc.variables["NODE_DICOM_TLS"] == "true":  # its port is for TLS only, then
        for path in files:
            orthanc.api.upload_file(str(path))
        return
    (said,) = dcmsend(orthanc.port, files, called=orthanc.aet, calling=SENDER)
    assert said.stored == len(files), said.output[-2000:]


def digests(orthanc: Beside, series_uid: str) -> list[str]:
    return [sha256(orthanc.download(one)).hexdigest() for one in orthanc.series()[series_uid]]


def settings(folder: Path, orthancs: dict[str, Beside], *, port: int, stow_port: int) -> dict[str, Any]:
    """A node that answers in the way that it was asked."""
    rest_url = orthancs["rest"].url.rstrip("/")
    token, password = folder / "stow.token", folder / "orthanc.password"
    for path, text in ((token, STOW_TOKEN), (password, f"imaging-node:{NODE_PASSWORD}")):
        path.write_text(text)
        path.chmod(0o600)
    patience = {"connect_timeout_s": 5.0, "response_timeout_s": 20.0, "probe_s": 1.0, "retry_longest_s": 2.0}
    raw = settings_for(folder, port=port)
    raw["peers"] = [
        {"name": "plain", "ae_title": "ORTHANC", "addresses": ["127.0.0.0/8"]},
        {"name": "tls", "ae_title": WAYS["tls"].title, "addresses": ["127.0.0.0/8"], "subject": "orthanc"},
    ]
    raw["destinations"] = [
        *({"kind": "dicom", "name": way, "ae_title": WAYS[way].title, "host": HOST, "port": orthancs[way].port,
           "commitment": "ask", **patience} for way in ("dicom", "tls")),
        {"kind": "dicomweb", "name": "dicomweb", "url": orthancs["dicomweb"].dicomweb_url,
         "password_file": str(password), **patience},
        {"kind": "orthanc", "name": "rest", "url": rest_url, "password_file": str(password), **patience},
    ]  # fmt: skip
    raw["rules"] = [
        {"name": way, "pipeline": "ct-denoise", "destinations": [way], "where": {"CallingAETitle": it.title}}
        for way, it in WAYS.items()
    ]
    senders = [{"ae_title": WAYS["dicomweb"].title, "token_file": str(token)}]
    raw["stow"] = {"host": HOST, "port": stow_port, "senders": senders}
    raw["sources"] = [
        {"kind": "orthanc", "name": "gateway", "url": rest_url, "password_file": str(password),
         "offered": "ImagingNodeSent", "calling_ae_title": WAYS["rest"].title, "history": True,
         "poll_s": 0.3, "retry_longest_s": 1.0},
    ]  # fmt: skip
    return raw


def hard_to_keep(folder: Path, plain: list[Path], way: Way) -> list[Path]:
    """A study of its own, with a name in a rare character set and compressed pixels."""
    (folder / "sent").mkdir(parents=True)
    for path in plain:
        data_set = pydicom.dcmread(path)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
            data_set[keyword].value = uid(way.title, data_set[keyword].value)
        data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
        data_set.SpecificCharacterSet = way.character_set.split("\\")
        data_set.PatientName, data_set.PatientID = way.name, way.title
        data_set.save_as(folder / path.name)
        assert not run_tool(*way.compressor, folder / path.name, folder / "sent" / path.name)
    return sorted((folder / "sent").iterdir())


def facts(path: Path) -> tuple[str, dict[str, object]]:
    """Transfer syntax, and every element with the bytes of its value as they lie in the file."""
    data_set = pydicom.dcmread(path)
    raw = {str(tag): data_set.get_item(tag).value for tag in list(data_set.keys())}
    return str(data_set.file_meta.TransferSyntaxUID), raw


def test_a_series_goes_there_and_its_result_comes_back(case: Case) -> None:
    orthanc = case.orthanc
    wait_until(
        f"its result is back; {orthanc.stands()} {case.node.tail()}",
        lambda: "ai-processed" in orthanc.labels("series", case.series_id),
        timeout_s=120,
    )
    (result,) = case.results()
    assert len(result["Instances"]) == SLICES
    assert "ai-denoise" in orthanc.labels("series", result["ID"])
    said = orthanc.metadata("series", result["ID"])
    assert json.loads(said["ImagingNodeMade"])["network"] == "ct_denoise"
    assert "ImagingNodeSent" not in said
    assert json.loads(orthanc.metadata("series", case.series_id)["ImagingNodeSent"])["way"] == orthanc.stands()["way"]
    assert "ai-no-result" not in orthanc.labels("series", case.series_id)


def test_originals_stay_as_they_came(case: Case) -> None:
    for path in case.files:
        assert facts(case.node.received(pydicom.dcmread(path).SOPInstanceUID)) == facts(path)
    assert case.digests() == case.kept


def test_what_comes_again_is_not_made_twice_and_results_are_not_sent(case: Case) -> None:
    sent = case.orthanc.stands()["sent"]
    send(case.orthanc, case.files)
    case.orthanc.api.post(f"imaging-node/{case.series_id}", data="")
    wait_until("a person's wish is done", lambda: case.orthanc.stands()["sent"] > sent)
    wait_until("nothing is open", lambda: not case.orthanc.stands()["open"])
    assert case.orthanc.stands()["sent"] == sent + 1

    case.node.wait_settled(len(WAYS))
    (only,) = [one for one in case.node.sets() if one["series_uid"] == case.source]
    assert [job["state"] for job in case.node.jobs_of(only["id"])] == ["delivered"]
    assert len(case.node.sets()) == len(WAYS)
    assert len(case.results()) == 1


def test_slices_that_come_late_are_sent_and_others_work_is_not(cases: dict[str, Case], tmp_path: Path) -> None:
    orthanc = cases["dicom"].orthanc
    files = make_series(tmp_path / "late", slices=4, seed=1)
    header = pydicom.dcmread(files[0], stop_before_pixels=True)
    before = orthanc.stands()["sent"]
    for path in files[:2]:
        orthanc.api.upload_file(str(path))
    reformat = pydicom.dcmread(files[0])
    reformat.ImageType = ["DERIVED", "SECONDARY", "REFORMATTED"]
    reformat.SeriesInstanceUID, reformat.SOPInstanceUID = uid("reformat"), uid("reformat", 1)
    reformat.file_meta.MediaStorageSOPInstanceUID = reformat.SOPInstanceUID
    reformat.save_as(tmp_path / "reformat.dcm")
    orthanc.api.upload_file(str(tmp_path / "reformat.dcm"))
    series_id = orthanc.id_of(str(header.SeriesInstanceUID))
    wait_until("half of it is sent", lambda: orthanc.stands()["sent"] == before + 1)
    for path in files[2:]:
        orthanc.api.upload_file(str(path))
    wait_until("all of it is sent", lambda: orthanc.stands()["sent"] == before + 2)

    assert json.loads(orthanc.metadata("series", series_id)["ImagingNodeSent"])["content"].startswith("4 ")
    assert all(cases["dicom"].node.received(pydicom.dcmread(path).SOPInstanceUID) for path in files)
    wait_until("nothing came of it", lambda: "ai-no-result" in orthanc.labels("series", series_id))
    wait_until("nothing is open", lambda: not orthanc.stands()["open"])
    assert "ImagingNodeSent" not in orthanc.metadata("series", orthanc.id_of(str(reformat.SeriesInstanceUID)))


def test_a_flag_labels_the_study_until_it_is_withdrawn(cases: dict[str, Case], tmp_path: Path) -> None:
    orthanc = cases["dicom"].orthanc
    sources = dicom_phantom.series(tmp_path / "in", dicom_phantom.everything)
    reply = triage_phantom.written(tmp_path / "out", sources, triage_phantom.not_analysable())
    (report,) = reply["instances"]
    header = pydicom.dcmread(report["path"], stop_before_pixels=True)

    orthanc.api.upload_file(report["path"])
    (study,) = (one["ID"] for one in orthanc.get("studies?expand") if _study_uid(one) == header.StudyInstanceUID)
    wait_until("the study says so", lambda: "ai-not-analysable" in orthanc.labels("studies", study))

    named = {key: report[key] for key in ("sop_class_uid", "sop_instance_uid")}
    note = write_rejection(
        {
            "object": report["path"],
            "code": "113001",
            "reason": "The source was corrected.",
            "instances": [{**named, "series_instance_uid": str(header.SeriesInstanceUID)}],
            "at": "2026-03-04T06:00:00+01:00",
            "series_number": 4053,
            "job": triage_phantom.job(),
            "out": str(tmp_path / "note"),
        }
    )
    orthanc.api.upload_file(note["path"])
    wait_until("no more", lambda: "ai-not-analysable" not in orthanc.labels("studies", study))
    report_series = orthanc.id_of(str(header.SeriesInstanceUID))
    assert {"ai-triage", "ai-withdrawn"} <= orthanc.labels("series", report_series)


def test_nobody_without_a_password_gets_in(case: Case) -> None:
    for path in ("system", "imaging-node", "dicom-web/studies"):
        assert requests.get(case.orthanc.url + path, timeout=10).status_code == 401
    (said,) = dcmsend(case.orthanc.port, case.files[:1], called=case.orthanc.aet, calling="STRANGER")
    assert not said.stored


def test_a_short_password_keeps_orthanc_from_starting(tmp_path: Path) -> None:
    orthanc = Beside(tmp_path / "open", node_port=1, stow_port=1, way="off")
    orthanc.variables["ORTHANC_NODE_PASSWORD"] = ""
    done = subprocess.run(orthanc.command(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "at least 12 characters" in done.stderr


def _study_uid(study: dict[str, Any]) -> str:
    return str(study["MainDicomTags"]["StudyInstanceUID"])
