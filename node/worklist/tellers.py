"""The ways to tell somebody, built from the settings."""

from collections.abc import Callable, Sequence

from node.peers.telling import Teller, Told
from node.records import notices
from node.records.database import Records
from node.settings.flags import Channel, Hl7Channel, Label, Webhook
from node.settings.web import OrthancDestination
from pipelines.triage import Flag


def teller(channel: Channel, orthanc: Callable[[str], OrthancDestination], records: Records | None) -> Teller:
    """One way.

    orthanc: the destination of that name
    records: None: only to probe
    raises:  BadSetting if a secret or certificate cannot be used
    """
    if isinstance(channel, Hl7Channel):
        from node.peers.hl7 import Hl7Teller  # here: a node without channels starts sooner without them

        return Hl7Teller(channel)
    if isinstance(channel, Webhook):
        from node.peers.webhook import WebhookTeller

        return WebhookTeller(channel)
    assert isinstance(channel, Label)
    from node.peers.web.labels import LabelTeller

    def others(told: Told) -> set[Flag]:
        if records is None:
            return set()
        with records.read() as connection:
            return notices.standing_flags(connection, told.subject.study_uid, beside=told.job_id)

    return LabelTeller(channel, orthanc(channel.destination), others=others)


def tellers(
    channels: Sequence[Channel], orthanc: Callable[[str], OrthancDestination], records: Records
) -> list[tuple[Channel, Teller]]:
    """All of them. Raises BadSetting."""
    return [(one, teller(one, orthanc, records)) for one in channels]


def require_usable(channels: Sequence[Channel], orthanc: Callable[[str], OrthancDestination]) -> None:
    """Look at every secret and certificate before anybody is told anything. Raises BadSetting."""
    for one in channels:
        teller(one, orthanc, None)
