"""DICOMweb archives: STOW-RS of finished files (PS3.18 10.5), QIDO-RS for what is there (PS3.18 10.6).

QIDO-RS is dicomweb-client's. Its `store_instances` is not used: it encodes each object again, holds a request in memory
twice, repeats a POST, and drops what the server says of each instance (deploy/decisions/0013-dicomweb-and-orthanc.md).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import requests
from dicomweb_client import DICOMwebClient

from node.log import log
from node.peers.carrier import Answer, Broken, Busy, Consignment, Fate, Item, Unreachable
from node.peers.web.http import Session, retry_after_s
from node.peers.web.multipart import FilesBody
from node.settings.web import DicomwebDestination

_REFERENCED_SOP, _FAILED_SOP = "00081199", "00081198"  # Referenced SOP Sequence, Failed SOP Sequence
_REFERENCED_UID, _REASON = "00081155", "00081197"  # Referenced SOP Instance UID, Failure Reason
_SOP_INSTANCE_UID, _SERIES_INSTANCES = "00080018", "00201209"
_DUPLICATE: Final = 0x0111
_PAGE: Final = 1000
_MOST: Final = 100_000  # instances of one series
_PAUSE_S: Final = 30.0  # where a busy server does not say how long
# Failure Reason (0008,1197) in a Store Instances Response (PS3.18 I.2.2): these may pass later.
_TRANSIENT: Final = frozenset({0x0110, *range(0xA700, 0xA800)})
_BUSY: Final = frozenset({429, 503, 507})
# Not this request but its way is wrong: a person mends it, and what waits goes on.
_NOT_HERE: Final = frozenset({401, 403, 404, 405, 407, 501})


class Dicomweb:
    """One DICOMweb archive; a new HTTP session for each call, so any thread may use it."""

    def __init__(self, settings: DicomwebDestination) -> None:
        self._settings = settings

    def probe(self) -> None:
        """A QIDO-RS question for no study in particular. Raises Unreachable."""
        with Session(self._settings) as session:
            response = session.get(f"{self._settings.url}/studies", params={"limit": "1"}, headers=_JSON)
            if response.status_code not in (200, 204):
                raise _not_here(self._settings.name, response.status_code)

    def held(self, consignment: Consignment, wanted: frozenset[str]) -> frozenset[str] | None:
        with Session(self._settings) as session:
            return self._held(session, consignment, wanted)

    def instances_related(self, *, study_uid: str, series_uid: str) -> int | None:
        """Number of Series Related Instances (0020,1209), or how many it lists; None if it does not say.

        raises: Unreachable, Broken
        """
        with Session(self._settings) as session:
            found = self._ask(
                lambda client: client.search_for_series(
                    study_uid,
                    search_filters={"SeriesInstanceUID": series_uid},
                    fields=["NumberOfSeriesRelatedInstances"],
                ),
                session,
            )
            counts = [_first(one, _SERIES_INSTANCES) for one in found or ()]
            if len(counts) == 1 and isinstance(counts[0], int | str) and str(counts[0]).isdigit():
                return int(counts[0])
            return len(self._listed(session, study_uid, series_uid) or ()) if found else None

    def carry(
        self,
        consignment: Consignment,
        items: Sequence[Item],
        *,
        before: Callable[[int], None],
        answered: Callable[[int, Answer], bool],
    ) -> None:
        with Session(self._settings) as session:
            unsure = 0
            for batch in batches(items, count=self._settings.request_instances, size=self._settings.request_mb << 20):
                for index in batch:
                    before(index)
                answers = self._store(session, consignment, [items[index] for index in batch])
                go_on = True
                for index in batch:
                    answer = answers.get(items[index].sop_instance_uid)
                    if answer is None:
                        unsure += 1
                    elif not answered(index, answer):
                        go_on = False
                if not go_on:
                    return
            if unsure:
                raise Broken(
                    f"{self._settings.name}: no word on {unsure} of {len(items)} instances.", fix="See the peer's log."
                )

    def _store(self, session: Session, consignment: Consignment, items: Sequence[Item]) -> dict[str, Answer]:
        """SOP Instance UID -> answer; one that the server did not name is absent."""
        body = FilesBody([item.path for item in items])
        headers = {"Content-Type": body.content_type, **_JSON}
        url = f"{self._settings.url}/studies/{consignment.study_uid}"
        response = session.post(url, data=body, headers=headers)
        status = response.status_code
        # Too large together, or one of them breaks all: halves show which.
        if status in (400, 413) and len(items) > 1 and not _dicom_json(response):
            half = len(items) // 2
            return self._store(session, consignment, items[:half]) | self._store(session, consignment, items[half:])
        if status in _BUSY:
            raise Busy(
                f"{self._settings.name}: answered {status}.",
                after_s=retry_after_s(response) or _PAUSE_S,
                fix="See its load and disk.",
            )
        if status in _NOT_HERE:
            raise _not_here(self._settings.name, status)
        if status not in (200, 202, 400, 409, 413, 415):
            raise Broken(f"{self._settings.name}: answered {status}.", fix="See the peer's log.")
        answers = dict(_answers(response, status))
        if status in (400, 413, 415) and not answers:
            answers = dict.fromkeys((i.sop_instance_uid for i in items), Answer(fate=Fate.NEVER, status=str(status)))
        # What failed may be there for all that: an archive that has an object says 409 (PS3.18 10.5.3.1) or 0x0111.
        failed = frozenset(
            item.sop_instance_uid
            for item in items
            if (answer := answers.get(item.sop_instance_uid)) is None or answer.fate is Fate.NEVER
        )
        there = (self._held(session, consignment, failed) if failed else None) or frozenset()
        return answers | dict.fromkeys(there, Answer(fate=Fate.TAKEN, status="found"))

    def _held(self, session: Session, consignment: Consignment, wanted: frozenset[str]) -> frozenset[str] | None:
        listed = self._listed(session, consignment.study_uid, consignment.series_uid)
        return None if listed is None else wanted & listed

    def _listed(self, session: Session, study_uid: str, series_uid: str) -> frozenset[str] | None:
        listed: set[str] = set()
        while len(listed) < _MOST:
            # dicomweb-client's own paging never ends at a server that ignores the offset.
            ask = partial(_instances, study_uid=study_uid, series_uid=series_uid, offset=len(listed))
            found = self._ask(ask, session)
            if found is None and not listed:
                return None
            new = {uid for one in found or () if isinstance(uid := _first(one, _SOP_INSTANCE_UID), str)} - listed
            listed |= new
            if len(new) < _PAGE:
                break
        return frozenset(listed)

    def _ask(self, question: Callable[[Any], Any], session: Session) -> list[Mapping[str, Any]] | None:
        """Answers of a QIDO-RS question; None if the server offers none. Raises Unreachable, Broken."""
        client = DICOMwebClient(self._settings.url, session=session, permissive_uid=True, timeout=session.timeout)
        client.set_http_retry_params(retry=False)
        try:
            found = question(client)
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            if status in _BUSY or (status >= 500 and status != 501):
                raise Broken(f"{self._settings.name}: answered {status} to QIDO-RS.") from error
            log.warning("QIDO-RS not answered", destination=self._settings.name, status=status)
            return None
        except ValueError as error:  # also requests' JSONDecodeError
            raise Broken(f"{self._settings.name}: the answer to QIDO-RS is not JSON.") from error
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _instances(client: DICOMwebClient, *, study_uid: str, series_uid: str, offset: int) -> Any:
    return client.search_for_instances(study_uid, series_uid, limit=_PAGE, offset=offset)


_JSON: Final = {"Accept": "application/dicom+json"}


def batches(items: Sequence[Item], *, count: int, size: int) -> Iterator[range]:
    """Ranges of items for one request each: at most `count`, and `size` bytes unless a single one is larger."""
    start, held = 0, 0
    for index, item in enumerate(items):
        own = item.path.stat().st_size
        if index > start and (index - start >= count or held + own > size):
            yield range(start, index)
            start, held = index, 0
        held += own
    if start < len(items):
        yield range(start, len(items))


def _answers(response: requests.Response, status: int) -> Iterator[tuple[str, Answer]]:
    """What a Store Instances Response says (PS3.18 10.5.3, I.2). Nothing else counts as proof, whatever the status."""
    said = _dicom_json(response)
    for one in _items(said, _REFERENCED_SOP):
        uid = _first(one, _REFERENCED_UID)
        if isinstance(uid, str):
            yield uid, Answer(fate=Fate.TAKEN, status=str(status))
    for one in _items(said, _FAILED_SOP):
        uid, reason = _first(one, _REFERENCED_UID), _first(one, _REASON)
        if isinstance(uid, str):
            number = int(reason) if isinstance(reason, int | str) and str(reason).isdigit() else 0x0110
            fate = Fate.LATER if number in _TRANSIENT else Fate.NEVER
            yield uid, Answer(fate=Fate.TAKEN if number == _DUPLICATE else fate, status=f"{number & 0xFFFF:#06x}")


def _dicom_json(response: requests.Response) -> Mapping[str, Any]:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in ("application/dicom+json", "application/json"):
        return {}
    try:
        said = json.loads(response.content)
    except (ValueError, RecursionError):
        return {}
    if isinstance(said, list) and said:
        said = said[0]
    return said if isinstance(said, dict) else {}


def _items(data_set: Mapping[str, Any], tag: str) -> list[Mapping[str, Any]]:
    element = data_set.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _first(data_set: Mapping[str, Any], tag: str) -> Any:
    element = data_set.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _not_here(name: str, status: int) -> Unreachable:
    return Unreachable(f"{name}: answered {status}.", fix="Check its url, token or password.")
