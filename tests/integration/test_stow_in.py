"""STOW-RS in: what is answered is durable, each instance has its own answer, and hostile bodies change nothing."""

import gzip
import json
import os
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from dicomweb_client import DICOMwebClient

from node.demo.phantom import make_series
from node.dicom.classes import EXPLICIT_LE
from node.errors import BadSetting
from node.settings import parse
from node.spool import file_meta
from tests.authority import Authority
from tests.conftest import SHARED
from tests.peers import HOST, free_port, wait_until
from tests.running_node import settings_for
from tests.system_calls import Step, events, traced
from tests.web_part import MULTIPART, WebPart, multipart, raw_http, status_of

SLICES = 4
CORPUS = SHARED / "corpus"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_series(tmp_path_factory.mktemp("phantom"), slices=SLICES)


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebPart]:
    limits = {"silence_s": 2.0, "maximum_request_mb": 64, "maximum_parts": 50, "maximum_connections": 40}
    with WebPart(tmp_path_factory.mktemp("web"), stow=limits) as running:
        yield running
        assert running.running(), running.log()


def post(part: WebPart, body: bytes | Iterator[bytes], path: str = "/studies", **headers: str) -> requests.Response:
    usual = {"Content-Type": MULTIPART}
    return requests.post(part.url + path, data=body, headers=usual | headers, timeout=60)


def reasons(answer: requests.Response) -> list[int]:
    """Failure Reasons of an answer, in order."""
    return [item["00081197"]["Value"][0] for item in answer.json().get("00081198", {}).get("Value", [])]


def taken(answer: requests.Response) -> list[str]:
    return [item["00081155"]["Value"][0] for item in answer.json().get("00081199", {}).get("Value", [])]


def uid_of(path: Path) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def test_dicomweb_client_stores_a_series(part: WebPart, series: list[Path]) -> None:
    client = DICOMwebClient(part.url, timeout=30)
    study = pydicom.dcmread(series[0]).StudyInstanceUID
    for named in (None, study):  # the second time all is there already: success again
        answer = client.store_instances([pydicom.dcmread(path) for path in series], study_instance_uid=named)
        assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == list(map(uid_of, series))
        assert "FailedSOPSequence" not in answer
    assert all(part.holds(uid_of(path)) for path in series)
    assert part.endings()[:2] == ["released", "released"]
    files = list((part.state / "spool" / "in").rglob("*.dcm"))
    kept = {pydicom.dcmread(path).SOPInstanceUID: path for path in files}
    for path in series:
        assert pydicom.dcmread(kept[uid_of(path)]) == pydicom.dcmread(path)


def test_chunked_bodies_and_unusual_cuts_are_the_same(part: WebPart, series: list[Path]) -> None:
    body = multipart([path.read_bytes() for path in series])
    answer = post(part, iter([body[:1], body[1:40], body[40:200_000], body[200_000:]]))
    assert (answer.status_code, len(taken(answer))) == (200, SLICES)
    assert answer.headers["content-type"] == "application/dicom+json"


def test_xml_where_it_is_asked_for(part: WebPart, series: list[Path]) -> None:
    answer = post(part, multipart([series[0].read_bytes()]), Accept="application/dicom+xml")
    assert answer.headers["content-type"].startswith("application/dicom+xml")
    assert uid_of(series[0]) in answer.text
    assert "<NativeDicomModel" in answer.text


def test_each_instance_has_its_own_answer(part: WebPart, series: list[Path]) -> None:
    good = series[0].read_bytes()
    other = pydicom.dcmread(series[1])
    other.PixelData = bytes(len(other.PixelData))
    changed = series[1].with_suffix(".changed")
    other.save_as(changed)
    unsupported = file_meta(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4", sop_instance_uid="1.2.3", transfer_syntax=EXPLICIT_LE,
        implementation_uid="1.2",
    )  # fmt: skip
    mpeg = file_meta(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2", sop_instance_uid="1.2.3.4", implementation_uid="1.2",
        transfer_syntax="1.2.840.10008.1.2.4.100",
    )  # fmt: skip
    post(part, multipart([series[1].read_bytes()]))

    answer = post(
        part,
        multipart([good, b"no DICOM", changed.read_bytes(), unsupported + bytes(16), mpeg + bytes(16), good[:-1000]]),
    )

    assert answer.status_code == 202
    assert taken(answer) == [uid_of(series[0])]
    assert reasons(answer) == [0xC000, 0xC001, 0x0122, 0xC122, 0xC000]
    assert post(part, multipart([b"no DICOM"])).status_code == 409
    assert part.endings()[-1] == "released"
    assert not part.leftovers()


def test_another_study_than_that_of_the_request_is_refused(part: WebPart, tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, slices=1)
    data = pydicom.dcmread(path)
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.99.1"
    data.save_as(path)
    answer = post(part, multipart([path.read_bytes()]), "/studies/1.2.3")
    assert (answer.status_code, reasons(answer)) == (409, [0xA900])
    assert not part.holds("1.2.826.0.1.99.1")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/dicom+json"}, 415),
        ({"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=B'}, 415),
        ({"Content-Type": "multipart/form-data; boundary=B"}, 415),
        ({"Content-Type": 'multipart/related; type="application/dicom"'}, 400),
        ({"Content-Type": f'multipart/related; type="application/dicom"; boundary={"x" * 71}'}, 400),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Encoding": "deflate"}, 415),
    ],
)
def test_what_cannot_be_read_is_refused_as_a_whole(
    part: WebPart, series: list[Path], headers: dict[str, str], status: int
) -> None:
    body = multipart([series[0].read_bytes()])
    if headers.get("Content-Encoding") == "gzip":
        body = gzip.compress(body)
    assert post(part, body, **headers).status_code == status


@pytest.mark.parametrize(
    ("path", "status"),
    [("/studies/no-uid", 400), ("/studies/1.02.3", 400), ("/studies/..%2f..%2fetc", 404), ("/studies/1.2/series", 404)],
)
def test_hostile_paths(part: WebPart, series: list[Path], path: str, status: int) -> None:
    assert post(part, multipart([series[0].read_bytes()]), path).status_code == status


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_other_methods_are_not_allowed(part: WebPart, method: str) -> None:
    assert requests.request(method, f"{part.url}/studies", timeout=10).status_code == 405


def test_limits_of_a_request(part: WebPart, series: list[Path]) -> None:
    assert post(part, multipart([b"x"] * 51)).status_code == 413
    huge = ({"Content-Length": str(65 << 20)}, [b"\r\n--B\r\n\r\n"])
    head = (
        f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\nContent-Length: {huge[0]['Content-Length']}"
    )
    assert status_of(raw_http(part.port, [f"{head}\r\nExpect: 100-continue\r\n\r\n".encode()])) == 413

    def endless() -> Iterator[bytes]:
        yield b"--B\r\n\r\n"
        for _ in range(66):
            yield bytes(1 << 20)

    with suppress(requests.ConnectionError):  # it may be cut off while it is sending
        assert post(part, endless()).status_code == 413
    assert not part.leftovers()


def requests_of(good: bytes) -> dict[str, tuple[list[bytes], tuple[int, ...]]]:
    """Name -> what goes over the wire, and the statuses that are right; 0 is a closed connection."""
    kind = f"Content-Type: {MULTIPART}\r\n"
    start = f"POST /studies HTTP/1.1\r\nHost: x\r\n{kind}".encode()

    def sized(body: bytes, size: int | None = None) -> list[bytes]:
        return [start + f"Content-Length: {len(body) if size is None else size}\r\n\r\n".encode(), body]

    def chunked(*chunks: bytes) -> list[bytes]:
        return [start + b"Transfer-Encoding: chunked\r\n\r\n", *chunks]

    evil = file_meta(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2", sop_instance_uid="../../../../tmp/evil",
        transfer_syntax=EXPLICIT_LE, implementation_uid="1.2",
    )  # fmt: skip
    named = b'--B\r\nContent-Type: application/dicom\r\nContent-Disposition: attachment; filename="../../evil"\r\n\r\n'
    return {
        "empty": (sized(b""), (400,)),
        "no boundary in the body": (sized(good), (400,)),
        "only boundaries": (sized(b"--B\r\n--B\r\n--B--"), (400, 409)),
        "truncated part": (sized(multipart([good[:5000]], closing_boundary=False)), (400,)),
        "length longer than the body": ([*sized(multipart([good]), len(good) + 10_000)], (408,)),
        "length shorter than the body": (sized(multipart([good]), 1000), (400,)),
        "a header of 100 KB": ([b"POST /studies HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"], (400, 0)),
        "a part header of 100 KB": (sized(b"--B\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"), (400,)),
        "10,000 part headers": (sized(b"--B\r\n" + b"X: a\r\n" * 10_000 + b"\r\n"), (400,)),
        "no HTTP": ([b"\x01\x00\x00\x00\x00\xcd" + bytes(200) + b"\r\n\r\n"], (400, 0)),
        "TLS on a plain port": ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)], (400, 0)),
        "bad chunk size": (chunked(b"zz\r\nabc\r\n"), (400, 0)),
        "endless chunk size": (chunked(b"1" * 5000), (400, 408, 0)),
        "two lengths": ([start + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"], (400, 0)),
        "length and chunks": ([start + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], (400, 0)),
        "a UID that is a path": (sized(multipart([evil + bytes(50)])), (409,)),
        "a file name that is a path": (sized(named + good + b"\r\n--B--"), (200,)),
        "base64": (sized(b"--B\r\nContent-Transfer-Encoding: base64\r\n\r\n" + good + b"\r\n--B--"), (409,)),
        "a compressed part": (
            sized(b"--B\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(good) + b"\r\n--B--"),
            (409,),
        ),
        "an upgrade": ([start + b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n"], (400,)),
        "one byte, then silence": ([start[:1]], (0,)),
        "a slow body": ([*sized(b"--B\r\n", 1 << 20)], (408,)),
    }


def test_hostile_requests_get_their_answer_and_change_nothing(part: WebPart, series: list[Path]) -> None:
    wrong = {}
    for name, (pieces, right) in requests_of(series[0].read_bytes()).items():
        began = time.monotonic()
        status = status_of(raw_http(part.port, pieces))
        if status not in right or time.monotonic() - began > 10:
            wrong[name] = (status, right, round(time.monotonic() - began, 1))
    assert wrong == {}
    assert not part.leftovers()
    assert not list(part.state.parent.rglob("*evil*"))
    assert post(part, multipart([series[0].read_bytes()])).status_code == 200


def test_silent_connections_of_one_address_do_not_keep_others_out(part: WebPart, series: list[Path]) -> None:
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection((HOST, part.port), 5, source_address=("127.0.0.2", 0)))
            for _ in range(60)
        ]
        for one in silent[:30]:
            one.send(b"POST /studies HT")
        began = time.monotonic()
        assert post(part, multipart([series[0].read_bytes()])).status_code == 200
        assert time.monotonic() - began < 2.0
        time.sleep(4.5)  # twice silence_s: every one of them is cut off
        for one in silent:
            one.setblocking(False)
            with suppress(ConnectionResetError):
                assert one.recv(1) == b""


def test_a_client_that_goes_away_leaves_nothing(part: WebPart, series: list[Path]) -> None:
    before = len(part.endings())
    body = multipart([path.read_bytes() for path in series])
    head = f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((HOST, part.port), 5) as connection:
        connection.sendall(head.encode() + body[: len(body) // 2])
        time.sleep(0.5)
    wait_until("the request is closed", lambda: len(part.endings()) > before and part.endings()[-1] is not None)
    assert part.endings()[-1] == "aborted"
    assert not part.leftovers()


def test_a_killed_listener_keeps_what_it_answered_and_no_half(tmp_path: Path, series: list[Path]) -> None:
    part = WebPart(tmp_path)
    with part:
        assert post(part, multipart([series[0].read_bytes()])).status_code == 200
        body = multipart([path.read_bytes() for path in series[1:]])
        head = f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((HOST, part.port), 5) as connection:
            connection.sendall(head.encode() + body[:-1000])
            wait_until("two are durable", lambda: part.holds(uid_of(series[2])))
            part.kill()
    with part:
        assert part.endings() == ["released", "lost"]
        assert [part.holds(uid_of(path)) for path in series] == [True, True, True, False]
        assert post(part, body).status_code == 200
        assert part.holds(uid_of(series[3]))


def test_tokens_and_certificates_name_the_sender(tmp_path: Path, series: list[Path]) -> None:
    authority = Authority(tmp_path / "ca")
    server, ct1, ct2 = authority.sign("node"), authority.sign("ct1"), authority.sign("ct2")
    secrets = {}
    for name in ("ct1", "ct2"):
        secrets[name] = tmp_path / f"{name}.token"
        secrets[name].write_text(f"{name}-" + "x" * 40 + "\n")
        secrets[name].chmod(0o600)
    tls = {"certificate": str(server.certificate), "key": str(server.key), "ca": str(server.ca)}
    senders = [
        {"ae_title": "CT1", "token_file": str(secrets["ct1"]), "subject": "ct1"},
        {"ae_title": "CT2", "token_file": str(secrets["ct2"])},
    ]
    with WebPart(tmp_path, stow={"tls": tls, "senders": senders}) as part:

        def status(token: str | None, shown: Any) -> int:
            headers = {"Content-Type": MULTIPART}
            if token is not None:
                headers["Authorization"] = f"Bearer {token}"
            answer = requests.post(
                f"{part.url}/studies",
                data=multipart([series[0].read_bytes()]),
                headers=headers,
                cert=(str(shown.certificate), str(shown.key)),
                verify=str(server.ca),
                timeout=20,
            )
            return answer.status_code

        first, second = (secrets[name].read_text().strip() for name in ("ct1", "ct2"))
        assert status(first, ct1) == 200
        assert status(first, ct2) == 403
        assert status(second, ct1) == 200
        assert status("wrong" * 10, ct1) == 401
        assert status(None, ct1) == 401
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.post(f"{part.url}/studies", verify=str(server.ca), timeout=20)
        assert first not in part.log()


def test_it_is_not_opened_to_others_without_tls_and_tokens(tmp_path: Path) -> None:
    raw = settings_for(tmp_path)
    raw["stow"] = {"host": "0.0.0.0", "port": free_port(), "senders": [{"ae_title": "CT1"}]}
    assert any("stow.host is 0.0.0.0" in line for line in parse(raw, source="the test").unsafe())
    with pytest.raises(BadSetting, match="each needs a token_file or a subject"):
        parse({**raw, "stow": {"senders": [{"ae_title": "CT1"}, {"ae_title": "CT2"}]}}, source="the test")
    raw["stow"]["host"] = "127.0.0.1"
    assert not any("stow" in line for line in parse(raw, source="the test").unsafe())


def corpus(every: int) -> list[Path]:
    """Each family's files, every n-th of them."""
    families = sorted(path for path in CORPUS.iterdir() if path.is_dir()) if CORPUS.is_dir() else []
    return [one for family in families for one in sorted(family.glob("*.dcm"))[::every]]


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the odd and broken objects (../shared/corpus) are not here")
@pytest.mark.parametrize("every", [12, pytest.param(1, marks=pytest.mark.slow)])
def test_odd_and_broken_objects_get_an_answer_and_the_listener_stays(tmp_path: Path, every: int) -> None:
    answers: dict[str, tuple[int, int | None]] = {}
    with WebPart(tmp_path) as part:
        for path in corpus(every):
            answer = post(part, multipart([path.read_bytes()]))
            assert answer.headers["content-type"] == "application/dicom+json"
            answers[str(path.relative_to(CORPUS))] = (answer.status_code, next(iter(reasons(answer)), None))
        assert part.running()
        assert part.peak_mb() < 512
        assert set(part.endings()) == {"released"}
    assert len(answers) > (450 if every == 1 else 40)
    # A whole file in a whole request: stored, or refused for what it is; never for what the node lacks (A700, 0110).
    allowed = {200, 409, 413}
    assert {file: said for file, said in answers.items() if said[0] not in allowed or said[1] in (0xA700, 0x0110)} == {}
    if every == 1:
        expect = {one["file"]: one["expect"] for one in json.loads((CORPUS / "manifest.json").read_text("utf-8"))}
        exact = re.compile(r"gen_(lengths|nesting|clinical|conflict|text)/")
        for file, (status, _) in answers.items():
            if exact.match(file) and expect[file].startswith("reject"):
                assert status == 409, file


@pytest.mark.slow
def test_an_instance_of_1_gib_does_not_fill_memory(tmp_path: Path) -> None:
    uid, size = "1.2.826.0.1.77", 1 << 30
    meta = file_meta(
        sop_class_uid=ENHANCED_CT, sop_instance_uid=uid, transfer_syntax=EXPLICIT_LE, implementation_uid="1.2"
    )

    def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HH2sH", group, number, vr, len(value)) + value

    def body() -> Iterator[bytes]:
        yield b"--B\r\nContent-Type: application/dicom\r\n\r\n" + meta
        yield element(0x0008, 0x0016, b"UI", ENHANCED_CT.encode()) + element(0x0008, 0x0018, b"UI", uid.encode())
        yield element(0x0020, 0x000D, b"UI", b"1.2.826.0.1.78") + element(0x0020, 0x000E, b"UI", b"1.2.826.0.1.79")
        yield struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, size)
        block = os.urandom(1 << 20)
        for _ in range(size >> 20):
            yield block
        yield b"\r\n--B--"

    with WebPart(tmp_path) as part:
        answer = requests.post(f"{part.url}/studies", data=body(), headers={"Content-Type": MULTIPART}, timeout=280)
        assert (answer.status_code, taken(answer)) == (200, [uid])
        assert part.peak_mb() <= 300


def test_more_requests_than_may_be_are_told_to_come_back(tmp_path: Path, series: list[Path]) -> None:
    body = multipart([series[0].read_bytes()])
    head = f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\nContent-Length: {len(body)}\r\n\r\n"
    with (
        WebPart(tmp_path, stow={"maximum_requests": 1}) as part,
        socket.create_connection((HOST, part.port), 5) as slow,
    ):
        slow.sendall(head.encode() + body[:100])
        wait_until("the slow one is inside", lambda: len(part.endings()) == 1)
        busy = post(part, body)
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
        slow.sendall(body[100:])
        assert slow.recv(100).startswith(b"HTTP/1.1 200 ")
        assert post(part, body).status_code == 200
        assert part.endings() == ["released", "released"]


def test_an_answer_comes_after_file_folder_and_record_are_synced(tmp_path: Path, series: list[Path]) -> None:
    """RELIABILITY §5 d, test 1, for the answer to a request."""
    trace = tmp_path / "trace"
    with WebPart(tmp_path) as part, traced([part.pid], trace):
        assert post(part, multipart([series[0].read_bytes()])).status_code == 200
        time.sleep(0.5)
    text = trace.read_text(errors="replace")
    seen = [(event.step, event.ended) for event in events(text)]
    last = {step: max(at for one, at in seen if one is step) for step in Step if step is not Step.ANSWER}
    first_file = min(at for one, at in seen if one is Step.FILE)
    (answer,) = (number for number, line in enumerate(text.splitlines()) if "HTTP/1.1 200" in line)
    assert first_file < last[Step.RENAME] < last[Step.FOLDER] < last[Step.RECORD] < answer
