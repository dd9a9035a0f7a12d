"""Deliver: every object confirmed at every destination, once.

What is to go where stands in the records, instance by instance. An attempt sends what is unconfirmed; an instance that
went on the wire without a known answer is looked for at the archive first (DICOM_SPEC §2, rule d), and if it is not
there the same bytes go again under the same UID. How they travel is the carrier's affair (`peers/carrier.py`).
"""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

from node.errors import Refuse, Retry
from node.log import log
from node.metrics import METRICS
from node.peers.carrier import Answer, Busy, Carrier, Consignment, Fate, Item, Unreachable
from node.proof import Proof
from node.records import deliveries, derived, jobs, pauses
from node.records.database import Records
from node.records.deliveries import Parcel
from node.records.ledger import Ledger
from node.records.states import DeliveryState, DispatchState, StopCause
from node.settings import Destination
from node.spool import Spool

_FIRST_PAUSE_S: Final = 5.0
_PAUSED_S: Final = 30.0  # between looks whether a paused pipeline goes on
_LONGEST_ASKED_S: Final = 3600.0  # a destination may ask for a pause, not for silence
_PERMANENT_TRIES: Final = 3
_WITHHELD: Final = (
    "The images are synthetic, and the destination does not say that it takes such; "
    "set synthetic = true there if its readers know them, then replay."
)
_IN_DOUBT: Final = (
    "After a restore: the destination may have it and cannot be asked; look there, then replay to send it, or discard."
)
_UNSURE: Final = (DeliveryState.SENT, DeliveryState.DOUBTED)
_AHEAD: Final = 16  # instances marked as sent in one commit


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What one attempt came to. `pause_s`: until the next one; None when the dispatch has ended."""

    state: DispatchState
    pause_s: float | None


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """How an attempt went.

    trouble:  empty if all is delivered
    refused:  for good
    reached:  somebody answered
    after_s:  the destination asks for so long a pause
    proof_s:  all was taken, and the destination is to vouch for it within so many seconds
    given_up: at once, and why: the destination vouches for nothing, does not say that it takes such images, or may
              have them since before a restore and cannot be asked
    """

    number: int
    trouble: str = ""
    refused: bool = False
    reached: bool = True
    after_s: float = 0.0
    proof_s: float | None = None
    given_up: StopCause | None = None


class Deliverer:
    """Sends the results of jobs; one for a worker process.

    proof:     what makes a destination vouch for what it took; None: its answers to C-STORE are enough
    synthesis: whether the images of a pipeline go only to destinations that say that they take synthetic ones
    clock:     seconds since the epoch
    """

    def __init__(
        self,
        records: Records,
        spool: Spool,
        *,
        destination: Callable[[str], Destination],
        carrier: Callable[[Destination], Carrier],
        proof: Callable[[Destination], Proof | None] = lambda _: None,
        synthesis: Callable[[str], bool],
        clock: Callable[[], float],
    ) -> None:
        self._records, self._spool, self._clock = records, spool, clock
        self._destination, self._carrier, self._proof = destination, carrier, proof
        self._synthesis = synthesis
        self._silent_until: dict[str, float] = {}

    def attempt(self, job_id: str, name: str, number: int) -> Attempt:
        """Send everything of a job that `name` has not confirmed; note how it went, as attempt `number`."""
        settings = self._destination(name)
        with self._records.read() as connection:
            dispatch = deliveries.dispatch(connection, job_id, name)
            kept_back = pauses.keeps_back(connection, job_id)
        if dispatch["state"] != DispatchState.WAITING:
            return Attempt(state=DispatchState(dispatch["state"]), pause_s=None)
        if kept_back:
            return Attempt(state=DispatchState.WAITING, pause_s=_PAUSED_S * random.uniform(0.8, 1.2))  # noqa: S311
        outcome = _Outcome(number=number)
        try:
            if not settings.synthetic and self._synthesis(self._consignment(job_id, name).pipeline):
                # The job may be older than the setting; what nobody agreed to never leaves (NETWORKS D6).
                outcome = replace(outcome, trouble=_WITHHELD, given_up=StopCause.WITHHELD)
            else:
                outcome = self._deliver(job_id, settings, outcome)
        except _InDoubt:
            outcome = replace(outcome, trouble=_IN_DOUBT, given_up=StopCause.IN_DOUBT)
        except Unreachable as error:
            METRICS.destination_up.labels(destination=name).set(0)
            outcome = _Outcome(number=number, trouble=error.message, reached=False)
        except Busy as error:
            outcome = _Outcome(number=number, trouble=error.message, after_s=min(error.after_s, _LONGEST_ASKED_S))
        except Retry as error:
            outcome = _Outcome(number=number, trouble=error.message)
        except Refuse as error:
            outcome = _Outcome(number=number, trouble=error.message, refused=True)
        except Exception as error:  # noqa: BLE001  an edge of the flow: what is undelivered stays and is tried again
            log.exception("a delivery broke")
            trouble = f"The delivery broke with {type(error).__name__}; see the worker's log."
            outcome = _Outcome(number=number, trouble=trouble)
        return self._note(job_id, settings, dispatch, outcome)

    def _note(self, job_id: str, settings: Destination, dispatch: dict[str, Any], outcome: "_Outcome") -> Attempt:
        now, name = self._clock(), settings.name
        trouble, refused = outcome.trouble, outcome.refused
        state, pause_s, cause = DispatchState.DELIVERED, outcome.proof_s, outcome.given_up or StopCause.UNKNOWN
        if outcome.given_up is not None:
            state, pause_s = DispatchState.DEAD, None
        elif pause_s is not None:
            state = DispatchState.WAITING
        elif trouble:
            tries = dispatch["refusals"] + int(refused)
            old = now - dispatch["since"] > settings.retry_hours * 3600
            given_up = (refused and tries >= _PERMANENT_TRIES) or old
            cause = StopCause.REJECTED if refused else StopCause.TOO_LATE
            state = DispatchState.DEAD if given_up else DispatchState.WAITING
            longest = settings.retry_longest_s if outcome.reached else settings.probe_s
            pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(dispatch["attempts"], 16), longest) * random.uniform(0.8, 1.2)  # noqa: S311
            pause_s = max(pause_s, outcome.after_s)
            METRICS.delivery_failures.labels(destination=name).inc()
        with self._records.write() as connection:
            deliveries.attempted(
                connection, job_id, name, trouble=trouble, refused=refused, number=outcome.number, at=now
            )
            known = DispatchState(deliveries.dispatch(connection, job_id, name)["state"])
            if known is not DispatchState.WAITING:  # the archive's word came meanwhile, and the tick saw it
                return Attempt(state=known, pause_s=None)
            if state is not DispatchState.WAITING:
                deliveries.end(connection, job_id, name, state=state, cause=cause, at=now)
                return Attempt(state=state, pause_s=None)
        return Attempt(state=state, pause_s=pause_s)

    def _deliver(self, job_id: str, settings: Destination, outcome: "_Outcome") -> "_Outcome":
        proof = self._proof(settings)
        if proof is not None:
            proof.send_again(job_id)
        with self._records.read() as connection:
            parcels = deliveries.unconfirmed(connection, job_id, settings.name)
        for form in dict.fromkeys(parcel.form for parcel in parcels):  # a delivery is of one series
            self._send(job_id, settings, form, [parcel for parcel in parcels if parcel.form == form])
        if proof is None:
            return outcome
        standing = proof.stand(self._consignment(job_id, settings.name))
        given_up = StopCause.UNPROVEN if standing.pause_s is None and standing.trouble else None
        return replace(outcome, trouble=standing.trouble, proof_s=standing.pause_s, given_up=given_up)

    def _send(self, job_id: str, settings: Destination, form: str, parcels: list[Parcel]) -> None:
        if self._clock() < self._silent_until.get(settings.name, 0.0):
            raise Unreachable("The destination did not answer a moment ago.")
        carrier = self._carrier(settings)
        consignment = self._consignment(job_id, settings.name, form)
        try:
            parcels = self._skip_what_is_there(consignment, settings, carrier, parcels)
            if parcels:
                self._carry(consignment, settings, carrier, parcels)
        except Unreachable:
            self._silent_until[settings.name] = self._clock() + min(_FIRST_PAUSE_S, settings.probe_s) * 0.5
            raise
        except (Retry, Refuse):  # it answered, if only to say no
            METRICS.destination_up.labels(destination=settings.name).set(1)
            raise
        METRICS.destination_up.labels(destination=settings.name).set(1)
        self._silent_until.pop(settings.name, None)

    def _consignment(self, job_id: str, destination: str, form: str | None = None) -> Consignment:
        with self._records.read() as connection:
            study_uid, series_uid = derived.study_and_series(connection, job_id, destination, form=form)
            made = derived.forms(connection, job_id, destination)
            along = [] if form else [one for one in made if one != derived.main(made)]
            beside = tuple(derived.study_and_series(connection, job_id, form=one)[1] for one in along)
            job = jobs.get(connection, job_id)
        return Consignment(
            job_id=job_id,
            pipeline=job["pipeline"],
            pipeline_version=job["pipeline_version"],
            study_uid=study_uid,
            series_uid=series_uid,
            beside=beside,
        )

    def _skip_what_is_there(
        self, consignment: Consignment, settings: Destination, carrier: Carrier, parcels: list[Parcel]
    ) -> list[Parcel]:
        unsure = frozenset(parcel.sop_instance_uid for parcel in parcels if parcel.state in _UNSURE)
        if not unsure:
            return parcels
        there = carrier.held(consignment, unsure)
        if there is None:
            if any(parcel.state is DeliveryState.DOUBTED for parcel in parcels):
                raise _InDoubt
            return parcels
        if there:
            with self._ledger(consignment, settings) as ledger:
                for uid in sorted(there):
                    ledger.confirm(uid, "found")
        return [parcel for parcel in parcels if parcel.sop_instance_uid not in there]

    def _carry(self, consignment: Consignment, settings: Destination, carrier: Carrier, parcels: list[Parcel]) -> None:
        faults: dict[str, int] = {}
        later, marked = False, 0
        name = settings.name
        items = [
            Item(
                sop_class_uid=parcel.sop_class_uid,
                sop_instance_uid=parcel.sop_instance_uid,
                path=self._spool.root / parcel.file,
            )
            for parcel in parcels
        ]

        def before(index: int) -> None:
            nonlocal marked
            if index < marked:
                return
            marked = index + _AHEAD
            if not all(future.result() for future in whole[index:marked]):
                raise _changed()
            uids = [parcel.sop_instance_uid for parcel in parcels[index:marked]]
            with self._records.write() as connection:
                deliveries.mark(connection, uids, name, state=DeliveryState.SENT, at=self._clock())

        def answered(index: int, answer: Answer) -> bool:
            nonlocal later
            uid = parcels[index].sop_instance_uid
            if answer.fate is Fate.TAKEN:
                ledger.confirm(uid, answer.status)
                return True
            faults[answer.status] = faults.get(answer.status, 0) + 1
            later = later or answer.fate is Fate.LATER
            METRICS.instances_failed.labels(destination=name).inc()
            with self._records.write() as connection:
                deliveries.mark(
                    connection, [uid], name, state=DeliveryState.FAILED, at=self._clock(), status=answer.status
                )
            return answer.fate is not Fate.LATER  # a peer that is full will not take the next one either

        with self._ledger(consignment, settings) as ledger, ThreadPoolExecutor(1, "whole") as pool:
            # What changed on the disk never leaves: looked at in a thread that is ahead of the one that sends.
            whole = [pool.submit(self._spool.holds, parcel.file, parcel.sha256) for parcel in parcels]
            try:
                carrier.carry(consignment, items, before=before, answered=answered)
            except (Refuse, OSError) as error:
                if all(future.result() for future in whole):
                    raise
                raise _changed() from error  # what could not be read, and why
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        if faults:
            counts = ", ".join(f"{status} to {count}" for status, count in sorted(faults.items()))
            kind = Retry if later else Refuse
            raise kind(f"The peer answered {counts} of {len(parcels)} instances.", fix="See the peer's log.")

    def _ledger(self, consignment: Consignment, settings: Destination) -> Ledger:
        def keep(confirmed: list[tuple[str, str]]) -> None:
            now, name = self._clock(), settings.name
            by_status: dict[str, list[str]] = {}
            for uid, status in confirmed:
                by_status.setdefault(status, []).append(uid)
            with self._records.write() as connection:
                for status, uids in by_status.items():
                    deliveries.mark(connection, uids, name, state=DeliveryState.CONFIRMED, at=now, status=status)
                waited_s = jobs.first_out(connection, consignment.job_id, at=now)
            METRICS.instances_delivered.labels(destination=name).inc(len(confirmed))
            if waited_s is not None:
                METRICS.last_in_to_first_out.observe(waited_s)

        return Ledger(keep)


class _InDoubt(Exception):
    """Whether the destination has the objects cannot be found out, and a person is to decide."""


def _changed() -> Refuse:
    return Refuse("A finished object on disk is missing or not what was made.", fix="Replay the series.")
