"""Deliver: every object confirmed at every destination, once.

What is to go where stands in the records, instance by instance. An attempt sends what is unconfirmed; an instance that
went on the wire without a known answer is looked for at the archive first (DICOM_SPEC §2, rule d), and if it is not
there the same bytes go again under the same UID.
"""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from node.errors import Refuse, Retry
from node.log import log
from node.metrics import METRICS
from node.peers import dimse_client
from node.peers.dimse_client import Address, Unreachable
from node.records import deliveries, jobs
from node.records.database import Records
from node.records.deliveries import Parcel
from node.records.states import DeliveryState, DispatchState
from node.settings import DicomDestination, FolderDestination
from node.spool import Spool, sync_folder, written_aside

_FIRST_PAUSE_S: Final = 5.0
_PERMANENT_TRIES: Final = 3
_AHEAD: Final = 16  # instances marked as sent in one commit

_TAKEN: Final = frozenset({0x0000, 0x0111, 0xB000, 0xB006, 0xB007})  # success, there already, stored with a warning
# Statuses after which the same object may pass later: out of resources (A7xx), processing failure, busy.
_TRANSIENT: Final = frozenset({0x0110, 0x0210, 0x0213, *range(0xA700, 0xA800)})


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What one attempt came to. `pause_s`: until the next one; None when the dispatch has ended."""

    state: DispatchState
    pause_s: float | None


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """How an attempt went. `trouble`: empty if all is delivered; `refused`: for good; `reached`: somebody answered."""

    number: int
    trouble: str
    refused: bool
    reached: bool


class Deliverer:
    """Sends the results of jobs; one for a worker process.

    address: of a DICOM destination
    clock:   seconds since the epoch
    """

    def __init__(
        self,
        records: Records,
        spool: Spool,
        *,
        destination: Callable[[str], DicomDestination | FolderDestination],
        address: Callable[[DicomDestination], Address],
        clock: Callable[[], float],
    ) -> None:
        self._records, self._spool, self._clock = records, spool, clock
        self._destination, self._address = destination, address
        self._silent_until: dict[str, float] = {}

    def attempt(self, job_id: str, name: str, number: int) -> Attempt:
        """Send everything of a job that `name` has not confirmed; note how it went, as attempt `number`."""
        settings = self._destination(name)
        with self._records.read() as connection:
            parcels = deliveries.unconfirmed(connection, job_id, name)
            dispatch = deliveries.dispatch(connection, job_id, name)
        if dispatch["state"] != DispatchState.WAITING:
            return Attempt(state=DispatchState(dispatch["state"]), pause_s=None)
        trouble, refused, reached = "", False, True
        try:
            if parcels:
                self._send(job_id, settings, parcels)
        except Unreachable as error:
            trouble, reached = error.message, False
        except Retry as error:
            trouble = error.message
        except Refuse as error:
            trouble, refused = error.message, True
        except Exception as error:  # noqa: BLE001  an edge of the flow: what is undelivered stays and is tried again
            log.exception("a delivery broke")
            trouble = f"The delivery broke with {type(error).__name__}; see the worker's log."
        outcome = _Outcome(number=number, trouble=trouble, refused=refused, reached=reached)
        return self._note(job_id, settings, dispatch, outcome)

    def _note(
        self,
        job_id: str,
        settings: DicomDestination | FolderDestination,
        dispatch: dict[str, Any],
        outcome: "_Outcome",
    ) -> Attempt:
        now, name = self._clock(), settings.name
        trouble, refused = outcome.trouble, outcome.refused
        state, pause_s = DispatchState.DELIVERED, None
        if trouble:
            tries = dispatch["refusals"] + int(refused)
            old = now - dispatch["since"] > settings.retry_hours * 3600
            given_up = (refused and tries >= _PERMANENT_TRIES) or old
            state = DispatchState.DEAD if given_up else DispatchState.WAITING
            longest = settings.retry_longest_s if outcome.reached else settings.probe_s
            pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(dispatch["attempts"], 16), longest) * random.uniform(0.8, 1.2)  # noqa: S311
            METRICS.delivery_failures.labels(destination=name).inc()
        with self._records.write() as connection:
            deliveries.attempted(
                connection, job_id, name, trouble=trouble, refused=refused, number=outcome.number, at=now
            )
            if state is not DispatchState.WAITING:
                deliveries.end(connection, job_id, name, state=state, at=now)
                return Attempt(state=state, pause_s=None)
        return Attempt(state=state, pause_s=pause_s)

    def _send(self, job_id: str, settings: DicomDestination | FolderDestination, parcels: list[Parcel]) -> None:
        if not all(self._spool.holds(parcel.file, parcel.sha256) for parcel in parcels):
            raise Refuse("A finished object on disk is missing or not what was made.", fix="Replay the series.")
        if settings.kind == "folder":
            self._copy(job_id, settings, parcels)
        else:
            self._store(job_id, settings, parcels)

    def _store(self, job_id: str, settings: DicomDestination, parcels: list[Parcel]) -> None:
        now = self._clock()
        if now < self._silent_until.get(settings.name, 0.0):
            raise Unreachable("The destination did not answer a moment ago.")
        address = self._address(settings)
        try:
            parcels = self._skip_what_is_there(job_id, settings, address, parcels)
            if parcels:
                self._c_store(job_id, settings, address, parcels)
        except Unreachable:
            self._silent_until[settings.name] = self._clock() + min(_FIRST_PAUSE_S, settings.probe_s) * 0.5
            raise
        self._silent_until.pop(settings.name, None)

    def _skip_what_is_there(
        self, job_id: str, settings: DicomDestination, address: Address, parcels: list[Parcel]
    ) -> list[Parcel]:
        unsure = [parcel for parcel in parcels if parcel.state is DeliveryState.SENT]
        if not unsure:
            return parcels
        with self._records.read() as connection:
            study_uid, series_uid = jobs.study_and_series(connection, job_id)
        there = dimse_client.instances_there(address, study_uid=study_uid, series_uid=series_uid) or set()
        known = [parcel.sop_instance_uid for parcel in unsure if parcel.sop_instance_uid in there]
        if known:
            self._confirm(job_id, settings.name, known, "found")
        return [parcel for parcel in parcels if parcel.sop_instance_uid not in there]

    def _c_store(self, job_id: str, settings: DicomDestination, address: Address, parcels: list[Parcel]) -> None:
        faults: dict[int, int] = {}
        name = settings.name

        def before(index: int) -> None:
            if index % _AHEAD == 0:
                uids = [parcel.sop_instance_uid for parcel in parcels[index : index + _AHEAD]]
                with self._records.write() as connection:
                    deliveries.mark(connection, uids, name, state=DeliveryState.SENT, at=self._clock())

        def answered(index: int, status: int) -> bool:
            uid = parcels[index].sop_instance_uid
            if status in _TAKEN:
                self._confirm(job_id, name, [uid], f"{status:#06x}")
                return True
            faults[status] = faults.get(status, 0) + 1
            METRICS.instances_failed.labels(destination=name).inc()
            with self._records.write() as connection:
                deliveries.mark(
                    connection, [uid], name, state=DeliveryState.FAILED, at=self._clock(), status=f"{status:#06x}"
                )
            return status not in _TRANSIENT  # a peer that is full will not take the next one either

        dimse_client.send(
            address,
            [(parcel.sop_class_uid, self._spool.root / parcel.file) for parcel in parcels],
            before=before,
            answered=answered,
        )
        if faults:
            counts = ", ".join(f"{status:#06x} to {count}" for status, count in sorted(faults.items()))
            kind = Retry if any(status in _TRANSIENT for status in faults) else Refuse
            raise kind(f"The peer answered {counts} of {len(parcels)} instances.", fix="See the peer's log.")

    def _confirm(self, job_id: str, name: str, uids: list[str], status: str) -> None:
        now = self._clock()
        with self._records.write() as connection:
            deliveries.mark(connection, uids, name, state=DeliveryState.CONFIRMED, at=now, status=status)
            waited_s = jobs.first_out(connection, job_id, at=now)
        METRICS.instances_delivered.labels(destination=name).inc(len(uids))
        if waited_s is not None:
            METRICS.last_in_to_first_out.observe(waited_s)

    def _copy(self, job_id: str, settings: FolderDestination, parcels: list[Parcel]) -> None:
        with self._records.read() as connection:
            _, series_uid = jobs.study_and_series(connection, job_id)
        folder = settings.path / series_uid  # a UID of ours, made of digits and dots
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for parcel in parcels:
                source = self._spool.root / parcel.file
                with source.open("rb") as made, written_aside(folder / source.name) as copy:
                    shutil.copyfileobj(made, copy)
            sync_folder(folder)
        except OSError as error:
            raise Retry(
                f"The folder cannot be written: {error.strerror}.", fix="Check its rights and space."
            ) from error
        self._confirm(job_id, settings.name, [parcel.sop_instance_uid for parcel in parcels], "copied")
