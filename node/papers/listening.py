"""The ports that a configuration opens, and who may connect to each."""

from collections.abc import Iterator
from typing import Final

from node.papers.facts import Caller, Data, Flow, Listener, Security
from node.settings import Page, Peer, Receiver, Settings, Stow
from node.settings.receiver import ReceiverTls

_STORES: Final = "images and reports (C-STORE), C-ECHO, reports on storage commitment"
_EVIDENCE: Final = "; MPPS and instance availability, which are believed"
_WORKLIST: Final = "; the worklist, out of the node (UPS)"


def plain(receiver: Receiver, key: str, settings: Settings) -> Iterator[Listener | Caller]:
    """The DICOM port without TLS; none where it stays closed."""
    if not receiver.opens_plain:
        return
    proof = "AE title and address"
    security = Security(tls=None, caller=proof, called="AE title only")
    listener = Listener(
        setting=f"{key}.port",
        process="receiver",
        host=receiver.host,
        port=receiver.port,
        protocol="DICOM",
        security=security,
    )
    yield listener
    yield from (_sender(peer, listener, proof, settings) for peer in settings.peers if peer.subject is None)


def secure(tls: ReceiverTls, key: str, settings: Settings) -> Iterator[Listener | Caller]:
    """The DICOM port for senders that show a certificate."""
    listener = Listener(
        setting=f"{key}.port",
        process="receiver",
        host=settings.receiver.host,
        port=tls.port,
        protocol="DICOM over TLS",
        security=Security(
            tls=tls.minimum, caller="certificate, AE title and address", called="certificate of the node"
        ),
    )
    yield listener
    for peer in settings.peers:
        if peer.subject is not None:
            yield _sender(peer, listener, f"certificate for {peer.subject}, AE title and address", settings)


def _sender(peer: Peer, listener: Listener, proof: str, settings: Settings) -> Caller:
    ups = settings.worklist.ups
    looks = ups.enabled and ups.may_look(peer.ae_title)
    return Caller(
        name=peer.name,
        setting=f"peers.{peer.name}",
        listener=listener,
        addresses=peer.addresses,
        proof=f"{proof} ({peer.ae_title})",
        carries=_STORES + (_EVIDENCE if peer.evidence else "") + (_WORKLIST if looks else ""),
        flow=Flow.BOTH if looks else Flow.IN,
        data=Data.IMAGES,
    )


def stow(settings: Stow, key: str, whole: Settings) -> Iterator[Listener | Caller]:
    """The STOW-RS listener."""
    secured = settings.tls is not None and settings.tls.ca is not None
    asked = [*(["certificate"] if secured else []), *(["token"] if any(s.token_file for s in settings.senders) else [])]
    listener = Listener(
        setting=f"{key}.port",
        process="web",
        host=settings.host,
        port=settings.port,
        protocol="HTTPS (STOW-RS)" if settings.tls else "HTTP (STOW-RS)",
        security=Security(
            tls=settings.tls.minimum if settings.tls else None,
            caller=", ".join(asked) or "nothing",
            called="certificate of the node" if settings.tls else "nothing",
        ),
    )
    yield listener
    for sender in settings.senders:
        shown = [
            *(["bearer token"] if sender.token_file else []),
            *([f"certificate for {sender.subject}"] if sender.subject else []),
            *(["a certificate of the CA"] if secured and not sender.subject else []),
        ]
        yield Caller(
            name=sender.ae_title,
            setting=f"{key}.senders.{sender.ae_title}",
            listener=listener,
            addresses=(),
            proof=" and ".join(shown) or "nothing: whoever is on this machine",
            carries="images and reports (STOW-RS)",
            flow=Flow.IN,
            data=Data.IMAGES,
        )


def page(settings: Page, key: str, whole: Settings) -> Iterator[Listener | Caller]:
    """Metrics and health."""
    listener = Listener(
        setting=f"{key}.port",
        process="page",
        host=settings.host,
        port=settings.port,
        protocol="HTTP",
        security=Security(tls=None, caller="nothing: there is no login", called="nothing"),
    )
    yield listener
    yield Caller(
        name="monitoring",
        setting=key,
        listener=listener,
        addresses=(),
        proof="nothing: whoever reaches the port may read it",
        carries="metrics and health: counts and times, names of the settings",
        flow=Flow.OUT,
        data=Data.NONE,
    )
