"""DICOM over TLS: who is let in, by real clients (PS3.15 B.12; RELIABILITY §5 i)."""

import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from pynetdicom import AE

from node.demo.phantom import make_series
from node.dicom.classes import VERIFICATION
from node.peers.certificate import expires_at
from node.settings import parse
from tests.authority import Authority, Signed
from tests.hostile import Client, Receiver, associate_rq
from tests.peers import HOST, free_port, run_tool, which_or_skip
from tests.running_node import AE_TITLE, cli, settings_for, write_toml

REQUEST_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A receiver with both ports, its authority, and another authority."""

    receiver: Receiver
    authority: Authority
    node: Signed
    peer: Signed
    stranger: Authority


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = Authority(folder / "ours"), Authority(folder / "theirs")
    node, peer = authority.sign("node"), authority.sign("scanner")
    raw = settings_for(folder, receiver=with_tls(node) | {"request_timeout_s": REQUEST_S})
    for one in raw["peers"]:
        one["subject"] = "Scanner"
    raw["peers"].append({"name": "plain", "ae_title": "PLAIN", "addresses": ["127.0.0.1"]})
    with Receiver(folder, raw) as receiver:
        yield Scene(receiver=receiver, authority=authority, node=node, peer=peer, stranger=stranger)


def with_tls(node: Signed, **more: object) -> dict[str, object]:
    files = {"certificate": str(node.certificate), "key": str(node.key), "ca": str(node.ca)}
    return {"tls": {"port": free_port(), **files, **more}}


def answer(scene: Scene, own: Signed | None, *, calling: str = "OTHER", **limits: ssl.TLSVersion) -> int:
    """Type of the PDU that answers an association request over TLS; 0: none, the connection was closed.

    own: what the client shows
    """
    context = ssl.create_default_context(cafile=str(scene.node.ca))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    for name, version in limits.items():
        setattr(context, name, version)
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    with Client(scene.receiver.tls_port) as client:
        try:
            client.socket = context.wrap_socket(client.socket, server_hostname=HOST)
            client.send(associate_rq(calling=calling))
            return client.pdu()[0]
        except (ssl.SSLError, ConnectionError):
            return 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_the_right_certificate_is_accepted(scene: Scene, version: ssl.TLSVersion) -> None:
    assert answer(scene, scene.peer, minimum_version=version, maximum_version=version) == 2


def test_who_shows_no_certificate_or_a_wrong_one_is_cut_off(scene: Scene) -> None:
    assert answer(scene, None) == 0
    assert answer(scene, scene.authority.sign_oneself("self")) == 0
    assert answer(scene, scene.authority.sign("ended", days=-1)) == 0
    assert answer(scene, scene.stranger.sign("scanner")) == 0
    assert answer(scene, scene.peer) == 2, "the control"


def test_a_certificate_of_another_name_is_rejected_for_this_title(scene: Scene) -> None:
    assert answer(scene, scene.authority.sign("somebody")) == 3
    assert answer(scene, scene.peer, calling="PLAIN") == 3, "a peer without a subject comes by the plain port only"


def test_who_is_bound_to_a_certificate_is_rejected_on_the_plain_port(scene: Scene) -> None:
    with Client(scene.receiver.port) as client:
        assert client.send(associate_rq()).pdu() == (3, b"\0\1\1\3")
    with Client(scene.receiver.port) as client:
        assert client.send(associate_rq(calling="PLAIN")).pdu()[0] == 2


def test_old_versions_are_cut_off(scene: Scene) -> None:
    old = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        assert answer(scene, scene.peer, minimum_version=old, maximum_version=old) == 0


def test_plain_dicom_on_the_tls_port_is_cut_off(scene: Scene) -> None:
    with Client(scene.receiver.tls_port) as client:
        assert client.send(associate_rq()).pdu()[0] in (0, 0x15), "closed, or a TLS alert"
    out = run_tool("echoscu", "-aet", "OTHER", "-aec", AE_TITLE, "-to", "5", HOST, str(scene.receiver.tls_port))
    assert "Association Accepted" not in out


def test_dcmtk_sends_over_tls(scene: Scene, tmp_path: Path) -> None:
    files = make_series(tmp_path / "series", slices=3)
    port, peer = str(scene.receiver.tls_port), scene.peer
    own = ("+tls", peer.key, peer.certificate, "+cf", peer.ca)
    said = run_tool("storescu", "-v", *own, "-aet", "STORESCU", "-aec", AE_TITLE, HOST, port, *files)

    assert said.count("Success") >= len(files), said
    assert "Success" not in run_tool("storescu", "-v", "-aet", "STORESCU", "-aec", AE_TITLE, HOST, port, files[0])


def test_anonymous_dcmtk_is_cut_off(scene: Scene) -> None:
    port = str(scene.receiver.tls_port)
    said = run_tool("echoscu", "-v", "+tla", "-ic", "-aet", "OTHER", "-aec", AE_TITLE, HOST, port)

    assert "Received Echo Response" not in said


def test_pynetdicom_echoes_over_tls(scene: Scene) -> None:
    ae = AE(ae_title="OTHER")
    ae.add_requested_context(VERIFICATION)
    context = ssl.create_default_context(cafile=str(scene.node.ca))
    context.load_cert_chain(scene.peer.certificate, scene.peer.key)
    association = ae.associate(HOST, scene.receiver.tls_port, ae_title=AE_TITLE, tls_args=(context, HOST))
    assert association.is_established
    assert association.send_c_echo().Status == 0x0000
    association.release()


def test_50_silent_tls_clients_do_not_hinder_a_sender_and_are_cut(scene: Scene) -> None:
    hello = ssl.MemoryBIO(), ssl.MemoryBIO()
    offered = ssl.create_default_context().wrap_bio(*hello, server_hostname=HOST)
    with pytest.raises(ssl.SSLWantReadError):
        offered.do_handshake()
    client_hello = hello[1].read()
    threads = scene.receiver.threads()
    with ExitStack() as stack:
        silent = [stack.enter_context(Client(scene.receiver.tls_port)) for _ in range(30)]
        silent += [stack.enter_context(Client(scene.receiver.tls_port)).send(client_hello[:50]) for _ in range(10)]
        silent += [stack.enter_context(Client(scene.receiver.tls_port)).send(client_hello) for _ in range(10)]
        began = time.monotonic()

        assert answer(scene, scene.peer) == 2
        assert time.monotonic() - began < 2.0
        assert scene.receiver.threads() <= threads + 3
        for one in silent:
            one.ended_within(REQUEST_S + 1.5)
        assert time.monotonic() - began < REQUEST_S + 2.0


def test_a_key_that_others_may_read_stops_the_start(tmp_path: Path) -> None:
    node = Authority(tmp_path / "ca").sign("node")
    node.key.chmod(0o644)
    file = write_toml(tmp_path / "node.toml", settings_for(tmp_path, receiver=with_tls(node)))

    status, _, trouble = cli("run", "receiver", "-c", file)

    assert status == 2
    assert "mode 0644" in trouble
    assert "chmod 600" in trouble


@pytest.mark.parametrize(
    ("part", "values", "said"),
    [
        ("receiver", {"host": "0.0.0.0"}, "receiver.host is 0.0.0.0"),
        ("receiver", {"host": "::"}, "receiver.host is ::"),
        ("receiver", {"host": "node.example.org"}, "receiver.host is node.example.org"),
        ("page", {"host": "0.0.0.0"}, "page.host is 0.0.0.0"),
        ("receiver", {"host": "0.0.0.0", "plain": True}, None),
        ("receiver", {"host": "::1"}, None),
        ("page", {"host": "0.0.0.0", "without_login": True}, None),
    ],
)
def test_what_is_unsafe_is_named(tmp_path: Path, part: str, values: dict[str, str], said: str | None) -> None:
    found = parse(settings_for(tmp_path, **{part: values}), source="the test").unsafe()

    assert [text.partition(",")[0] for text in found] == ([] if said is None else [said])


def test_what_is_unsafe_is_not_opened(tmp_path: Path) -> None:
    raw = settings_for(tmp_path, receiver={"host": "0.0.0.0"}, page={"host": "0.0.0.0"})
    file = write_toml(tmp_path / "node.toml", raw)

    for command in (["run"], ["run", "receiver"], ["run", "page"], ["check"]):
        status, lines, trouble = cli(*command, "-c", file)
        assert status == (1 if command == ["check"] else 2)
        for said in ("receiver.host is 0.0.0.0", "page.host is 0.0.0.0"):
            assert said in " ".join((lines + trouble).split())


def test_an_open_port_without_tls_is_opened_when_the_settings_say_so(tmp_path: Path) -> None:
    with Receiver(tmp_path, settings_for(tmp_path, receiver={"host": "0.0.0.0", "plain": True})) as receiver:
        with Client(receiver.port) as client:
            assert client.send(associate_rq()).pdu()[0] == 2
        assert "receiver.plain: other machines reach the DICOM port without encryption" in receiver.log.read_text()


def test_with_tls_the_plain_port_stays_closed_to_others(scene: Scene, tmp_path: Path) -> None:
    raw = settings_for(tmp_path, receiver={"host": "0.0.0.0", **with_tls(scene.node)})
    with Receiver(tmp_path, raw) as receiver:
        assert receiver.port == 0
        with pytest.raises(ConnectionRefusedError), socket.create_connection((HOST, raw["receiver"]["port"])):
            pass
        with Client(receiver.tls_port):
            pass


def test_the_end_of_a_certificate_is_what_openssl_says(tmp_path: Path) -> None:
    signed = Authority(tmp_path).sign("node", days=40 * 365)  # past 2049: dates have four digits then
    command = [which_or_skip("openssl"), "x509", "-in", str(signed.certificate), "-noout", "-enddate"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.partition("=")[2].strip()

    assert expires_at(signed.certificate) == ssl.cert_time_to_seconds(said)
