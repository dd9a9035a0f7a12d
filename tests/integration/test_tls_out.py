"""Calls to peers over TLS: DCMTK's storescp with certificates that are right, and wrong in every way."""

from dataclasses import replace
from pathlib import Path

import pytest

from node.demo.phantom import make_series
from node.dicom.codes import IMPLEMENTATION_CLASS_UID
from node.dicom.part10 import split
from node.peers.carrier import Unreachable
from node.peers.dimse import query as dimse_query
from node.peers.dimse import send as dimse_send
from node.peers.dimse.connect import Address
from node.settings.tls import Tls
from tests.authority import Authority, Signed
from tests.delivering import CT, uid
from tests.peers import HOST, StoreScp


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("theirs"))


def with_tls(shown: Signed, *, trusts: Path) -> list[str]:
    return ["+tls", str(shown.key), str(shown.certificate), "+cf", str(trusts)]


def address(peer: StoreScp, own: Signed, *, ca: Path) -> Address:
    return Address(
        host=HOST, port=peer.port, called_ae=peer.aet, calling_ae="IMAGING-NODE", connect_s=5.0, response_s=10.0,
        implementation_uid=IMPLEMENTATION_CLASS_UID, tls=Tls(certificate=own.certificate, key=own.key, ca=ca),
    )  # fmt: skip


def refused(to: Address) -> str:
    with pytest.raises(Unreachable) as caught:
        dimse_query.echo(to)
    return str(caught.value)


def test_objects_arrive_whole_at_a_peer_that_asks_for_the_nodes_certificate(tmp_path: Path, ours: Authority) -> None:
    made = make_series(tmp_path / "made", slices=3)
    node, archive = ours.sign("node"), ours.sign("archive")
    with StoreScp(tmp_path / "archive", options=with_tls(archive, trusts=ours.sign("any").ca)) as peer:
        to = address(peer, node, ca=node.ca)
        statuses: list[int] = []
        dimse_send.send(
            to,
            [(CT, path) for path in made],
            before=lambda _: None,
            answered=lambda _, status: statuses.append(status) is None,
        )
        assert statuses == [0, 0, 0]
        assert {uid(path): split(path)[1] for path in peer.files()} == {uid(path): split(path)[1] for path in made}

        # The certificate names 127.0.0.1 and `archive`, not this name of the same machine.
        assert "certificate is not accepted: Hostname mismatch" in refused(replace(to, host="localhost"))


def test_each_wrong_certificate_is_named(tmp_path: Path, ours: Authority, theirs: Authority) -> None:
    node, stranger = ours.sign("node"), theirs.sign("stranger")
    expired = ours.sign("expired", days=-1)
    for folder, shown, said in (
        ("expired", expired, "certificate has expired"),
        ("strange", stranger, "unable to get local issuer certificate"),
        ("oneself", ours.sign_oneself("oneself"), "self-signed certificate"),
    ):
        with StoreScp(tmp_path / folder, options=with_tls(shown, trusts=node.ca)) as peer:
            assert said in refused(address(peer, node, ca=node.ca))
    with StoreScp(tmp_path / "picky", options=with_tls(ours.sign("picky"), trusts=theirs.sign("x").ca)) as peer:
        # TLS 1.3 tells the client of its own certificate only after the handshake, in the place of the first answer.
        assert "Check that the peer accepts the node's certificate" in refused(address(peer, node, ca=node.ca))


def test_a_peer_without_tls_is_told_from_one_with_a_wrong_certificate(tmp_path: Path, ours: Authority) -> None:
    node = ours.sign("node")
    with StoreScp(tmp_path / "plain") as peer:
        assert "no TLS with" in refused(address(peer, node, ca=node.ca))
    with StoreScp(tmp_path / "secure", options=with_tls(ours.sign("archive"), trusts=node.ca)) as peer:
        assert "whether it wants TLS" in refused(replace(address(peer, node, ca=node.ca), tls=None))
