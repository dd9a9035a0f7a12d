"""An Orthanc as a source: series that it calls stable are fetched, file by file, and taken as those of an association.

Where reading stands is kept (table `cursors`), and moves on only when everything before it is durable. So either side
may be killed at any moment: what was fetched half is fetched again, and what is here already is not.
"""

import random
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from typing import Final

from node.errors import NodeError, Retry
from node.intake.incoming import Rejected, Status
from node.intake.unwrap import Unwrapper
from node.log import log
from node.peers.carrier import Broken
from node.peers.taking import Taking
from node.peers.web.orthanc import Gone, OrthancClient
from node.records import events, evidence, instances, sources
from node.records.database import Records
from node.records.evidence import Claim, Evidence, Source
from node.settings.web import OrthancSource

_LIMIT: Final = 200  # events in one answer
_TRIES: Final = 10  # of one series, while Orthanc itself answers
_FIRST_PAUSE_S: Final = 1.0


class OrthancReader:
    """One source. `run` belongs in a thread of its own."""

    def __init__(
        self, settings: OrthancSource, records: Records, taking: Taking, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings, self._records, self._taking, self._clock = settings, records, taking, clock
        self._tries: tuple[int, int] = (-1, 0)  # (sequence number, how often it broke)

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. Whatever happens is logged, waited for and tried again."""
        pause_s, said = 0.0, ""
        while not stop.is_set():
            try:
                wait_s = self._settings.poll_s if self.turn(stop) else 0.0
                pause_s, said = 0.0, ""
            except Exception as error:  # noqa: BLE001  a source must not end because of one answer
                text = error.message if isinstance(error, NodeError) else type(error).__name__
                if not isinstance(error, NodeError):
                    log.exception("reading a source broke", source=self._settings.name)
                elif text != said:
                    log.warning("a source cannot be read now", source=self._settings.name, why=text)
                said = text
                pause_s = min(pause_s * 2 or _FIRST_PAUSE_S, self._settings.retry_longest_s)
                wait_s = pause_s * random.uniform(0.8, 1.2)  # noqa: S311
            stop.wait(wait_s)

    def turn(self, stop: threading.Event) -> bool:
        """Deal with the next events. Returns whether those were all. Raises Retry."""
        with closing(OrthancClient(self._settings)) as client:
            return self._turn(client, stop)

    def _turn(self, client: OrthancClient, stop: threading.Event) -> bool:
        name = self._settings.name
        with self._records.read() as connection:
            at = sources.position(connection, name)
        if at is None:
            at = 0 if self._settings.history else client.newest_change()
            self._dealt_with(at)
        kind = "UpdatedMetadata" if self._settings.offered else "StableSeries"
        found, last, done = client.series_events(kind, at, limit=_LIMIT)
        if last < at and client.newest_change() < at:
            log.warning("a source counts its events from the start again; so does the node", source=name)
            self._dealt_with(0)
            return False
        for number, series_id in found:
            if stop.is_set():
                return True
            self._try(client, number, series_id)
            self._dealt_with(number)
        if last > at:
            self._dealt_with(last)
        return done

    def _dealt_with(self, position: int) -> None:
        with self._records.write() as connection:
            sources.dealt_with(connection, self._settings.name, position, at=self._clock())

    def _try(self, client: OrthancClient, number: int, series_id: str) -> None:
        """Fetch a series. One that breaks again and again is left where it is, so that others get through."""
        try:
            self._fetch(client, series_id)
        except Gone:
            log.info("a series went away before it was fetched", source=self._settings.name)
        except Broken as error:
            broke = self._tries[1] + 1 if self._tries[0] == number else 1
            self._tries = (number, broke)
            if broke < _TRIES:
                raise
            log.error("a series was not fetched and is left where it is", source=self._settings.name, why=error.message)
            with self._records.write() as connection:
                events.add(
                    connection, at=self._clock(), kind="not-fetched", subject=series_id, source=self._settings.name
                )

    def _fetch(self, client: OrthancClient, series_id: str) -> None:
        info = client.series_info(series_id)
        tags = info.get("MainDicomTags", {})
        series_uid = str(tags.get("SeriesInstanceUID", ""))
        with self._records.read() as connection:
            ours = sources.made_here(connection, series_uid)
        if ours or str(tags.get("Modality", "")) not in self._settings.modalities:
            return
        if self._settings.offered is not None and not client.has_metadata(series_id, self._settings.offered):
            return
        study_uid, there = client.study_uid(str(info.get("ParentStudy", ""))), client.sop_instances(series_id)
        with self._records.read() as connection:
            missing = {uid: one for uid, one in there.items() if instances.by_uid(connection, uid) is None}
        said = Evidence(
            source=Source.STABLE,
            key=series_id,
            study_uid=study_uid,
            series_uid=series_uid,
            claim=Claim.COMPLETED,
            named=tuple(sorted(there)),
            at=self._clock(),
        )
        with self._records.write() as connection:
            evidence.note(connection, said)
        if not missing:
            return
        key, whole = uuid.uuid4().hex, False
        self._taking.opened(key, self._settings.title)
        try:
            for orthanc_id in missing.values():
                self._take(client, orthanc_id, key)
            whole = True
        finally:
            self._taking.closed(key, whole)
        log.info("fetched", source=self._settings.name, instances=len(missing), had=len(there) - len(missing))

    def _take(self, client: OrthancClient, orthanc_id: str, key: str) -> None:
        file = Unwrapper(self._taking.begin, association=key, calling_ae=self._settings.title)
        try:
            for block in client.file_blocks(orthanc_id):
                file.feed(block)
            file.finish()
        except Gone:
            log.info("an instance went away before it was fetched", source=self._settings.name)
        except Rejected as error:
            self._taking.answered(int(error.status), file.size)
            log.warning("instance refused", status=f"{error.status:#06x}", why=error.comment)
            if error.status is Status.OUT_OF_RESOURCES:
                raise Retry("No room for what a source has.", fix="Free some disk space.") from error
        except NodeError:
            raise
        except Exception as error:  # whatever broke here: the instance is still at the source
            log.exception("an instance of a source was not stored")
            raise Broken("The node could not store what a source has.", fix="See its log.") from error
        else:
            self._taking.answered(int(Status.SUCCESS), file.size)
        finally:
            file.abandon()
