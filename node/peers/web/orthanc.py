"""Orthanc by its REST interface, on orthanc-api-client with a session of ours: as a destination, and to read from.

The library's own session waits for ever, repeats a POST after a read error and hands out None for an answer that was
cut off; `http.Session` takes its place.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, Final

import requests
from orthanc_api_client import OrthancApiClient
from orthanc_api_client import exceptions as api

from node.log import log
from node.peers.carrier import Answer, Broken, Busy, Consignment, Fate, Item, Unreachable
from node.peers.web.http import Session, blocks, retry_after_s
from node.settings.web import OrthancDestination, WebSite

LABELS_SINCE: Final = (1, 12, 0)
_PAUSE_S: Final = 30.0
_BUSY: Final = frozenset({429, 503, 507})
_NOT_HERE: Final = frozenset({401, 403, 405, 407})


class Gone(Broken):
    """Orthanc has no such resource, or not any more."""


class Refused(Broken):
    """Orthanc answered a request with a failure of its own."""

    status = 0


class OrthancClient(OrthancApiClient):  # type: ignore[misc]  # the library has no types
    """One Orthanc. Not for several threads at once. Every method raises Unreachable, Broken or Busy."""

    def __init__(self, site: WebSite) -> None:
        super().__init__(f"{site.url}/")
        self._http_session: Any
        self._http_session.close()
        self._http_session = Session(site)
        self._site = site

    def version(self) -> tuple[int, ...]:
        """As in (1, 12, 4); a development build counts as newer than all."""
        text = str(self._json("system").get("Version", ""))
        if text == "mainline":
            return (999,)
        numbers = re.findall(r"\d+", text)
        if not numbers:
            raise Unreachable(f"{self._site.name}: no Orthanc answers there.", fix="Check its url.")
        return tuple(map(int, numbers[:3]))

    def upload_part10(self, item: Item) -> Mapping[str, Any]:
        """Orthanc's answer to one file, which is streamed: its ids and a Status."""
        with self._edge(), item.path.open("rb") as file:
            return self._object(self.post("instances", data=file, headers={"Content-Type": "application/dicom"}))

    def series_id(self, series_uid: str) -> str | None:
        """Orthanc's id of a Series Instance UID; None if it has none."""
        return self._found("Series", series_uid)

    def study_id(self, study_uid: str) -> str | None:
        """Orthanc's id of a Study Instance UID; None if it has none."""
        return self._found("Study", study_uid)

    def _found(self, level: str, uid: str) -> str | None:
        with self._edge():
            found = self._checked(self.post("tools/lookup", data=uid)).json()
            ids = [str(one["ID"]) for one in found if one["Type"] == level]
        return ids[0] if ids else None

    def series_info(self, orthanc_id: str) -> Mapping[str, Any]:
        """Main DICOM tags, Instances and ParentStudy of a series."""
        return self._json(f"series/{orthanc_id}")

    def study_uid(self, orthanc_id: str) -> str:
        """Study Instance UID of Orthanc's id."""
        return str(self._json(f"studies/{orthanc_id}").get("MainDicomTags", {}).get("StudyInstanceUID", ""))

    def sop_instances(self, series_id: str) -> dict[str, str]:
        """SOP Instance UID -> Orthanc's id, of a series."""
        with self._edge():
            found = self._checked(self.get(f"series/{series_id}/instances")).json()
            return {str(one["MainDicomTags"]["SOPInstanceUID"]): str(one["ID"]) for one in found}

    def file_blocks(self, orthanc_id: str) -> Iterator[bytes]:
        """The Part 10 file of an instance, as stored, block by block."""
        with self._edge():
            response = self._checked(self.get(f"instances/{orthanc_id}/file", stream=True))
        yield from blocks(response, site_name=self._site.name)

    def series_events(self, kind: str, since: int, *, limit: int) -> tuple[list[tuple[int, str]], int, bool]:
        """Events after `since`: (sequence number, id) of series of one kind; the last number; if that is all.

        kind: as Orthanc calls it: StableSeries, UpdatedMetadata
        """
        with self._edge():
            changes, last, done = self.get_changes(since=since, limit=limit)
            wanted = [c for c in changes if c.change_type == kind and c.resource_type == "Series"]
            return [(int(c.sequence_id), str(c.resource_id)) for c in wanted], int(last), bool(done)

    def has_metadata(self, series_id: str, name: str) -> bool:
        """Whether a series has this metadata, by name or number."""
        with self._edge():
            text, _ = self.series.get_string_metadata_with_revision(series_id, name)
            return text is not None

    def newest_change(self) -> int:
        """Sequence number of the newest event; 0 if there is none."""
        return int(self._json("changes?last").get("Last", 0))

    def mark(self, series_id: str, *, labels: Sequence[str], metadata: Mapping[str, str]) -> None:
        """Put labels and metadata on a series; what is there already stays as it is."""
        with self._edge():
            if labels:
                there = set(self._checked(self.get(f"series/{series_id}/labels")).json())
                self.series.add_labels(series_id, [label for label in labels if label not in there])
            for name, value in metadata.items():
                text, revision = self.series.get_string_metadata_with_revision(series_id, name)
                if text != value:
                    self.series.set_string_metadata(series_id, name, value, match_revision=revision)

    def mark_study(self, study_id: str, *, on: Set[str], off: Set[str], metadata: str | None) -> None:
        """Put labels on a study and take others off; what is as it should be stays untouched.

        metadata: where they stand in an Orthanc that has no labels, parted by commas; None: it has labels
        """
        with self._edge():
            if metadata is None:
                there = set(self._checked(self.get(f"studies/{study_id}/labels")).json())
                self.studies.add_labels(study_id, sorted(on - there))
                self.studies.delete_labels(study_id, sorted(off & there))
                return
            text, revision = self.studies.get_string_metadata_with_revision(study_id, metadata)
            there = set(filter(None, (text or "").split(",")))
            wanted = there - off | on
            if wanted and wanted != there:
                self.studies.set_string_metadata(study_id, metadata, ",".join(sorted(wanted)), match_revision=revision)
            elif not wanted and text is not None:
                self.delete(f"studies/{study_id}/metadata/{metadata}", headers={"If-Match": revision or ""})

    def _json(self, path: str) -> Mapping[str, Any]:
        with self._edge():
            return self._object(self.get(path))

    def _checked(self, response: requests.Response | None) -> requests.Response:
        if response is None:  # the library's way of saying that an answer was no answer
            raise Broken(f"{self._site.name}: the answer is none of Orthanc's.", fix="See its log.")
        return response

    def _object(self, response: requests.Response | None) -> Mapping[str, Any]:
        found = self._checked(response).json()
        if not isinstance(found, dict):
            raise Broken(f"{self._site.name}: the answer is none of Orthanc's.", fix="Check its url.")
        return found

    @contextmanager
    def _edge(self) -> Iterator[None]:
        """The library's errors become ours; those of the session are ours already."""
        name = self._site.name
        try:
            yield
        except api.ResourceNotFound as error:
            raise Gone(f"{name}: what was asked for is not there.", fix="Check its url.") from error
        except api.HttpError as error:
            status, response = int(error.http_status_code or 0), error.request_response
            if status in _NOT_HERE:
                raise Unreachable(f"{name}: answered {status}.", fix="Check its url, token or password.") from error
            if status in _BUSY:
                after_s = None if response is None else retry_after_s(response)
                raise Busy(f"{name}: answered {status}.", after_s=after_s or _PAUSE_S, fix="See its disk.") from error
            refused = Refused(f"{name}: answered {status}.", fix="See its log.")
            refused.status = status
            raise refused from error
        except api.OrthancApiException as error:
            raise Broken(f"{name}: {type(error).__name__}.", fix="See its log.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Broken(f"{name}: the answer is none of Orthanc's.", fix="Check its url.") from error


class OrthancCarrier:
    """The way to one Orthanc; a new session for each call, so any thread may use it."""

    _told: Final[set[str]] = set()  # destinations whose age was spoken of

    def __init__(self, settings: OrthancDestination) -> None:
        self._settings = settings

    def probe(self) -> None:
        with self._client() as client:
            client.version()

    def held(self, consignment: Consignment, wanted: frozenset[str]) -> frozenset[str]:
        with self._client() as client:
            series_id = client.series_id(consignment.series_uid)
            found = frozenset() if series_id is None else frozenset(client.sop_instances(series_id)) & wanted
            if found and series_id is not None:  # it may have broken off between the object and its label
                self._mark(client, series_id)
            return found

    def instances_related(self, *, study_uid: str, series_uid: str) -> int | None:
        """How many instances of a series it has; None if it has none of it. Raises Unreachable, Broken."""
        with self._client() as client:
            series_id = client.series_id(series_uid)
            return None if series_id is None else len(client.series_info(series_id).get("Instances", ()))

    def carry(
        self,
        consignment: Consignment,
        items: Sequence[Item],
        *,
        before: Callable[[int], None],
        answered: Callable[[int, Answer], bool],
    ) -> None:
        marked = False
        with self._client() as client:
            for index, item in enumerate(items):
                before(index)
                try:
                    said = client.upload_part10(item)
                except Refused as error:
                    if error.status >= 500:
                        raise
                    later = error.status in (408, 409, 425)  # the same instance is being stored by another
                    fate = Fate.LATER if later else Fate.NEVER
                    if not answered(index, Answer(fate=fate, status=str(error.status))):
                        return
                    continue
                if not marked:  # before the answer counts: what is confirmed is never looked at again
                    self._mark(client, str(said.get("ParentSeries", "")))
                    marked = True
                fate_, status = _TAKEN.get(str(said.get("Status")), (Fate.NEVER, "200"))
                if not answered(index, Answer(fate=fate_, status=status)):
                    return

    def _mark(self, client: OrthancClient, series_id: str) -> None:
        settings, labels, metadata = self._settings, self._settings.labels, dict(self._settings.metadata)
        if labels and client.version() < LABELS_SINCE:
            if settings.name not in self._told:
                self._told.add(settings.name)
                log.warning(
                    "this Orthanc is older than labels; they go into metadata",
                    destination=settings.name,
                    metadata=settings.label_metadata,
                )
            metadata[settings.label_metadata] = ",".join(labels)
            labels = ()
        try:
            client.mark(series_id, labels=labels, metadata=metadata)
        except (Refused, Gone) as error:
            raise Broken(
                f"{settings.name}: it does not take the labels or metadata of the settings.",
                fix="Metadata need a number from 1024 on, or a name of its UserMetadata.",
            ) from error

    def _client(self) -> AbstractContextManager[OrthancClient]:
        return closing(OrthancClient(self._settings))


# What Orthanc says of an upload. With OverwriteInstances a second upload replaces the first with the same bytes.
_TAKEN: Final = {
    "Success": (Fate.TAKEN, "stored"),
    "AlreadyStored": (Fate.TAKEN, "found"),
    "FilteredOut": (Fate.NEVER, "filter"),
}
