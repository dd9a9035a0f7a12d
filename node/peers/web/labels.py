"""A verdict as a label on its study at an Orthanc; taken off again when the verdict is withdrawn."""

from collections.abc import Callable, Set
from contextlib import closing

from node.peers.telling import NotTaken, NotThere, Told
from node.peers.web.orthanc import LABELS_SINCE, Gone, OrthancClient, Refused
from node.settings.flags import Label
from node.settings.web import OrthancDestination
from pipelines.triage import Flag


class LabelTeller:
    """Labels studies at one Orthanc. One that is older than labels gets them as metadata of the study.

    others: the verdicts that hold on other series of the same study: their labels stay
    """

    def __init__(
        self, settings: Label, destination: OrthancDestination, *, others: Callable[[Told], Set[Flag]]
    ) -> None:
        self._settings, self._destination, self._others = settings, destination, others

    def probe(self) -> None:
        with closing(OrthancClient(self._destination)) as client:
            client.version()

    def tell(self, told: Told, *, control_id: str, before: Callable[[], None]) -> str:
        """As any teller; the study must be there first: raises NotThere until it is."""
        settings = self._settings
        on = set() if told.withdrawn else {settings.text(told.flag)}
        stay = {settings.text(flag) for flag in self._others(told) if settings.wants(flag)}
        off = {settings.text(flag) for flag in Flag} - on - stay
        with closing(OrthancClient(self._destination)) as client:
            metadata = None if client.version() >= LABELS_SINCE else settings.metadata
            study_id = client.study_id(told.subject.study_uid)
            if study_id is None:
                if told.withdrawn:
                    before()
                    return "the study is not there"
                raise NotThere(f"{settings.name}: the study is not there yet.", fix="Send it there, too.")
            before()
            try:
                client.mark_study(study_id, on=on, off=off, metadata=metadata)
            except Gone as error:
                raise NotThere(f"{settings.name}: the study is not there any more.") from error
            except Refused as error:
                if error.status >= 500:
                    raise
                raise NotTaken(
                    f"{settings.name}: answered {error.status}.",
                    fix="An Orthanc without labels takes metadata from 1024 on, or of its UserMetadata.",
                ) from error
        return "labelled" if metadata is None else "labelled, as metadata"
