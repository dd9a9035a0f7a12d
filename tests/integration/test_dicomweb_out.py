"""Delivery by STOW-RS and questions by QIDO-RS: against Orthanc's plug-in, and against servers that misbehave."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from node.demo.phantom import make_series
from node.errors import BadSetting
from node.peers.carrier import Answer, Broken, Busy, Consignment, Fate, Item, Unreachable
from node.peers.tls import web_server_context
from node.peers.web.dicomweb import Dicomweb, batches
from node.peers.web.multipart import FilesBody
from node.settings.web import DicomwebDestination, StowTls
from tests.authority import Authority
from tests.peers import HOST, Orthanc
from tests.scripted_http import Reply, ScriptedServer, listed, store_response

Answers = dict[str, Answer]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six slices of one series."""
    return make_series(tmp_path_factory.mktemp("phantom"), slices=6)


@pytest.fixture(scope="module")
def items(series: list[Path]) -> list[Item]:
    found = []
    for path in series:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        found.append(Item(sop_class_uid=header.SOPClassUID, sop_instance_uid=header.SOPInstanceUID, path=path))
    return found


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


def destination(url: str, **more: Any) -> DicomwebDestination:
    usual = {"connect_timeout_s": 2.0, "response_timeout_s": 2.0}
    return DicomwebDestination.model_validate({"kind": "dicomweb", "name": "web", "url": url, **usual, **more})


def carry(settings: DicomwebDestination, consignment: Consignment, items: list[Item]) -> Answers:
    """What was answered, by SOP Instance UID; as the deliverer does, it stops at what may pass later."""
    answers: Answers = {}
    sent: list[int] = []

    def answered(index: int, answer: Answer) -> bool:
        assert index in sent
        answers[items[index].sop_instance_uid] = answer
        return answer.fate is not Fate.LATER

    Dicomweb(settings).carry(consignment, items, before=sent.append, answered=answered)
    return answers


def uids(items: list[Item]) -> list[str]:
    return [item.sop_instance_uid for item in items]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("peer") / "orthanc", dicomweb=True) as orthanc:
        yield orthanc


@pytest.mark.peers
def test_files_arrive_as_they_lie_on_disk_and_a_second_time_changes_nothing(
    archive: Orthanc, consignment: Consignment, items: list[Item]
) -> None:
    web = Dicomweb(destination(archive.dicomweb_url, request_instances=4, response_timeout_s=20.0))
    web.probe()
    assert web.held(consignment, frozenset(uids(items))) == frozenset()
    assert web.instances_related(study_uid=consignment.study_uid, series_uid=consignment.series_uid) is None

    for _ in range(2):
        answers = carry(web._settings, consignment, items)
        assert {answer.fate for answer in answers.values()} == {Fate.TAKEN}
        assert sorted(answers) == archive.instances(consignment.series_uid) == sorted(uids(items))

    stored = {archive.download(one) for one in archive.series()[consignment.series_uid]}
    assert stored == {item.path.read_bytes() for item in items}
    assert web.held(consignment, frozenset([*uids(items)[:2], "1.2.3"])) == frozenset(uids(items)[:2])
    count = web.instances_related(study_uid=consignment.study_uid, series_uid=consignment.series_uid)
    assert count == len(items)


def test_a_request_is_what_ps3_18_says_and_bounded(consignment: Consignment, items: list[Item]) -> None:
    replies = [store_response(taken=uids(items)[start : start + 4]) for start in (0, 4)]
    with ScriptedServer(*replies) as server:
        answers = carry(destination(server.url, request_instances=4), consignment, items)

    assert [answers[uid] for uid in uids(items)] == [Answer(fate=Fate.TAKEN, status="200")] * 6
    first, second = server.asked
    assert (first.method, first.path) == ("POST", f"/studies/{consignment.study_uid}")
    assert first.headers["content-type"].startswith('multipart/related; type="application/dicom"; boundary=')
    assert first.headers["accept"] == "application/dicom+json"
    assert first.headers["host"] == f"{HOST}:{server.port}"
    assert int(first.headers["content-length"]) == len(first.body)
    for asked, part in ((first, items[:4]), (second, items[4:])):
        boundary = asked.headers["content-type"].partition("boundary=")[2].encode()
        inner = asked.body.removeprefix(b"--" + boundary).removesuffix(b"\r\n--" + boundary + b"--\r\n")
        bodies = [one.partition(b"\r\n\r\n")[2] for one in inner.split(b"\r\n--" + boundary)]
        assert bodies == [item.path.read_bytes() for item in part]


def test_bytes_of_a_request_are_bounded_but_a_large_instance_goes_alone(items: list[Item]) -> None:
    size = items[0].path.stat().st_size
    assert list(batches(items, count=16, size=2 * size)) == [range(2), range(2, 4), range(4, 6)]
    assert list(batches(items, count=16, size=1)) == [range(n, n + 1) for n in range(6)]
    assert list(batches([], count=16, size=1)) == []
    body = FilesBody([item.path for item in items])
    assert sum(map(len, iter(lambda: body.read(1000), b""))) == len(body)


def test_each_instance_has_its_own_answer(consignment: Consignment, items: list[Item]) -> None:
    taken, failed = uids(items)[:3], {uids(items)[3]: 0xA700, uids(items)[4]: 0xC122, uids(items)[5]: 0x0111}
    said = store_response(status=202, taken=taken, failed=failed)
    with ScriptedServer(said, listed()) as server:
        answers = carry(destination(server.url), consignment, items)

    assert [answers[uid].fate for uid in uids(items)] == [
        Fate.TAKEN, Fate.TAKEN, Fate.TAKEN, Fate.LATER, Fate.NEVER, Fate.TAKEN,
    ]  # fmt: skip
    assert answers[uids(items)[4]].status == "0xc122"


def test_a_conflict_over_what_is_there_already_is_a_delivery(consignment: Consignment, items: list[Item]) -> None:
    failed = dict.fromkeys(uids(items), 0xC001)
    with ScriptedServer(store_response(status=409, failed=failed), listed(*uids(items)[:4])) as server:
        answers = carry(destination(server.url), consignment, items)

    assert [answers[uid].status for uid in uids(items)] == ["found"] * 4 + ["0xc001"] * 2
    assert server.asked[1].method == "GET"


def test_success_without_proof_is_no_delivery(consignment: Consignment, items: list[Item]) -> None:
    login = Reply(body=b"<html>Please log in</html>", headers={"Content-Type": "text/html"})
    half = store_response(taken=uids(items)[:3])
    for said, sure in ((login, 0), (half, 3)):
        with ScriptedServer(said, listed()) as server, pytest.raises(Broken, match=f"no word on {6 - sure} of 6"):
            carry(destination(server.url), consignment, items)
    # The same, but the archive does list them: that is proof.
    with ScriptedServer(login, listed(*uids(items))) as server:
        assert {a.status for a in carry(destination(server.url), consignment, items).values()} == {"found"}


def test_too_large_together_goes_in_halves(consignment: Consignment, items: list[Item]) -> None:
    size = items[0].path.stat().st_size

    def strict(asked: Any) -> Reply:
        if asked.method == "GET":
            return listed()
        if len(asked.body) > 2.5 * size:
            return Reply(status=413)
        return store_response(taken=[uid for uid in uids(items) if uid.encode() in asked.body])

    with ScriptedServer(strict) as server:
        answers = carry(destination(server.url), consignment, items)
    assert [answers[uid].fate for uid in uids(items)] == [Fate.TAKEN] * 6


@pytest.mark.parametrize("status", [413, 415, 400])
def test_what_is_refused_alone_is_refused_for_good(status: int, consignment: Consignment, items: list[Item]) -> None:
    with ScriptedServer(lambda asked: listed() if asked.method == "GET" else Reply(status=status)) as server:
        answers = carry(destination(server.url), consignment, items[:1])
    assert answers == {uids(items)[0]: Answer(fate=Fate.NEVER, status=str(status))}


@pytest.mark.parametrize(
    ("reply", "pause_s"),
    [
        (Reply(status=429, headers={"Retry-After": "120"}), 120.0),
        (Reply(status=503, headers={"Retry-After": "7"}), 7.0),
        (Reply(status=503), 30.0),
        (Reply(status=507), 30.0),
    ],
)
def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(
    reply: Reply, pause_s: float, consignment: Consignment, items: list[Item]
) -> None:
    with ScriptedServer(reply) as server, pytest.raises(Busy) as raised:
        carry(destination(server.url), consignment, items)
    assert raised.value.after_s == pause_s
    assert len(server.asked) == 1, "a busy server was asked again"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(status: int, consignment: Consignment, items: list[Item]) -> None:
    with ScriptedServer(store_response(taken=uids(items))) as elsewhere:
        away = Reply(status=status, headers={"Location": f"{elsewhere.url}/studies"})
        with ScriptedServer(away) as server, pytest.raises(Unreachable, match="a redirect"):
            carry(destination(server.url), consignment, items)
        assert not elsewhere.asked, "images or a token went somewhere that no setting names"


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_a_wrong_door_is_no_fault_of_the_instances(status: int, consignment: Consignment, items: list[Item]) -> None:
    with ScriptedServer(Reply(status=status)) as server, pytest.raises(Unreachable, match=f"answered {status}"):
        carry(destination(server.url), consignment, items)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(hang_up=True),
        store_response(taken=["1.2.3"], cut=20),
        Reply(wait_s=4.0),
        Reply(status=500),
        Reply(body=b"[" * 100_000, headers={"Content-Type": "application/dicom+json"}, cut=1000),
    ],
    ids=["hangs-up", "cut", "silent", "500", "cut-json"],
)
def test_a_lost_answer_is_neither_success_nor_repeated_at_once(
    reply: Reply, consignment: Consignment, items: list[Item]
) -> None:
    began = time.monotonic()
    with ScriptedServer(reply) as server, pytest.raises(Broken):
        carry(destination(server.url), consignment, items)
    assert [asked.method for asked in server.asked] == ["POST"]
    assert time.monotonic() - began < 8.0


def test_nobody_there_is_said_in_time(consignment: Consignment, items: list[Item], free_port: int) -> None:
    with pytest.raises(Unreachable, match="no connection"):
        carry(destination(f"http://{HOST}:{free_port}"), consignment, items)


def test_a_server_without_qido_is_not_asked_for_ever(consignment: Consignment, items: list[Item]) -> None:
    for status in (404, 405, 501):
        with ScriptedServer(Reply(status=status)) as server:
            web = Dicomweb(destination(server.url))
            assert web.held(consignment, frozenset(uids(items))) is None
            assert web.instances_related(study_uid="1.2", series_uid="1.2.3") is None


def test_a_server_that_ignores_offsets_does_not_keep_the_node_asking(
    consignment: Consignment, items: list[Item]
) -> None:
    many = [f"1.2.3.{n}" for n in range(1000)]
    with ScriptedServer(listed(*many)) as server:
        assert Dicomweb(destination(server.url)).held(consignment, frozenset(many)) == frozenset(many)
    assert len(server.asked) == 2


def test_token_and_certificates_go_to_the_right_server_only(
    tmp_path: Path,
    consignment: Consignment,
    items: list[Item],
) -> None:
    authority = Authority(tmp_path / "ca")
    archive, own = authority.sign("archive"), authority.sign("node")
    token = tmp_path / "token"
    token.write_text("abc-123\n")
    token.chmod(0o600)
    context = web_server_context(StowTls(certificate=archive.certificate, key=archive.key, ca=archive.ca))
    tls = {"ca": own.ca, "certificate": own.certificate, "key": own.key}
    with ScriptedServer(store_response(taken=uids(items)), context=context) as server:
        carry(destination(server.url, token_file=token, tls=tls), consignment, items)
        assert server.asked[0].headers["authorization"] == "Bearer abc-123"
        for wrong in ({"ca": own.ca}, {}):  # no certificate of ours; the system's authorities do not know the test's
            with pytest.raises((Unreachable, Broken)):
                carry(destination(server.url, token_file=token, tls=wrong), consignment, items)
        assert len(server.asked) == 1

    token.chmod(0o644)
    with pytest.raises(BadSetting, match="read by everybody"):
        carry(destination("https://127.0.0.1:1", token_file=token), consignment, items)
    with pytest.raises(ValueError, match="needs an https URL"):
        destination("http://archive.example", token_file=token)
    with pytest.raises(ValueError, match="no user or password in a URL"):
        destination("https://me:secret@archive.example")
