"""Proof of delivery: an archive vouches for every object of a job, by Storage Commitment or, without it, by C-FIND.

What was asked and answered stands in the records; the answer may come to another process (`keep`). A question without
an answer, or with failures, is repeated after the pauses of the settings, with what failed sent once more before; then
the delivery is a dead letter.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydicom.uid import generate_uid

from node.errors import Refuse
from node.log import log
from node.metrics import METRICS
from node.peers.carrier import Consignment
from node.peers.dimse import commitment
from node.peers.dimse import query as dimse_query
from node.peers.dimse.commitment import NotTaken, Word
from node.peers.dimse.connect import Address
from node.peers.dimse.negotiation import NoContext
from node.records import commitments
from node.records.commitments import ABSENT, Commitment
from node.records.database import Records
from node.records.states import CommitmentState
from node.settings import DicomDestination

_UNDECIDED: Final = (CommitmentState.ASKED, CommitmentState.REFUSED, CommitmentState.FAILED)
_OPEN: Final = (*_UNDECIDED, CommitmentState.RESENT)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where the proof of a delivery stands. `pause_s`: None when all is proven, or is given up, as `trouble` says."""

    pause_s: float | None
    trouble: str = ""


def keep(records: Records, clock: Callable[[], float]) -> Callable[[Word], None]:
    """What keeps an archive's word; for the worker, and for receivers that archives call."""

    def said(word: Word) -> None:
        failures = {uid: f"{reason:#06x}" for uid, reason in word.failures.items()}
        with records.write() as connection:
            destination = commitments.answer(
                connection,
                word.transaction_uid,
                committed=word.committed,
                failures=failures,
                proof=CommitmentState.COMMITTED,
                at=clock(),
            )
        if destination is None:
            log.warning("a commitment report for a transaction that nobody asked for")
            return
        _count(destination, "failed" if failures else "committed")

    return said


class Proof:
    """Asks one archive about what it took.

    clock: seconds since the epoch
    """

    def __init__(
        self, records: Records, settings: DicomDestination, address: Address, *, clock: Callable[[], float]
    ) -> None:
        self._records, self._settings, self._address, self._clock = records, settings, address, clock
        self._name = settings.name

    def send_again(self, job_id: str) -> None:
        """If the pause after a failure is over: what failed counts as not delivered from now on."""
        newest, place = self._newest(job_id)
        if newest is None or newest.state is not CommitmentState.FAILED or place > len(self._pauses_h):
            return
        if self._left_s(newest, place) <= 0:
            with self._records.write() as connection:
                count = commitments.send_again(connection, newest, job_id, self._name, at=self._clock())
            log.warning("objects that the archive does not vouch for go once more", destination=self._name, count=count)

    def stand(self, consignment: Consignment) -> Standing:
        """Ask if it is time to, and say how it stands; everything was taken before.

        raises: Unreachable, Broken; Refuse if the archive has no means to prove anything
        """
        job_id = consignment.job_id
        newest, place = self._newest(job_id)
        if newest is not None and newest.state in _UNDECIDED:
            if self._proven(job_id):
                return Standing(pause_s=None)
            if (left_s := self._left_s(newest, place)) > 0:
                return Standing(pause_s=left_s, trouble=self._waits(newest, place))
            if place > len(self._pauses_h):
                return self._give_up(newest)
        if self._proven(job_id):
            return Standing(pause_s=None)
        self._ask(consignment)
        newest, place = self._newest(job_id)
        if newest is None or self._proven(job_id):
            return Standing(pause_s=None)
        if newest.state in (CommitmentState.FAILED, CommitmentState.REFUSED) and place > len(self._pauses_h):
            return self._give_up(newest)
        return Standing(pause_s=max(self._left_s(newest, place), 1.0), trouble=self._waits(newest, place))

    @property
    def _pauses_h(self) -> tuple[float, ...]:
        return self._settings.commitment_retry_hours

    def _newest(self, job_id: str) -> tuple[Commitment | None, int]:
        """The last question that was asked in this run, and which one of the run it is: 1, 2, ..."""
        with self._records.read() as connection:
            every = commitments.of_dispatch(connection, job_id, self._name)
        run: list[Commitment] = []
        for one in every:
            if one.state in _OPEN:
                run.append(one)
            elif one.state is not CommitmentState.ASKING:
                run.clear()  # proven or given up: whatever is asked after it begins anew
        return (run[-1], len(run)) if run else (None, 0)

    def _proven(self, job_id: str) -> bool:
        with self._records.read() as connection:
            return not commitments.unproven(connection, job_id, self._name)

    def _left_s(self, question: Commitment, place: int) -> float:
        """Seconds until a question is repeated, or until the last one is given up."""
        pauses = self._pauses_h
        if question.state is not CommitmentState.ASKED and place > len(pauses):
            return 0.0
        pause_s = 3600.0 * (pauses[place - 1] if place <= len(pauses) else pauses[0] if pauses else 0.0)
        passed_s = self._clock() - question.asked_at
        return pause_s if passed_s < 0 else pause_s - passed_s  # a clock that was set back begins the pause anew

    def _ask(self, consignment: Consignment) -> None:
        job_id, transaction_uid = consignment.job_id, str(generate_uid(prefix=None))
        with self._records.write() as connection:
            instances = commitments.unproven(connection, job_id, self._name)
            commitments.ask(connection, transaction_uid, job_id, self._name, at=self._clock())

        def asked() -> None:
            self._move(transaction_uid, CommitmentState.ASKED)
            _count(self._name, "asked")

        try:
            commitment.ask(
                self._address,
                transaction_uid=transaction_uid,
                instances=instances,
                wait_s=self._settings.commitment_wait_s,
                asked=asked,
                said=keep(self._records, self._clock),
            )
        except NotTaken as error:
            log.warning("storage commitment", destination=self._name, why=error.message)
            self._move(transaction_uid, CommitmentState.REFUSED)
            _count(self._name, "refused")
        except NoContext:
            self._look(consignment, transaction_uid, frozenset(uid for _, uid in instances))

    def _look(self, consignment: Consignment, transaction_uid: str, wanted: frozenset[str]) -> None:
        """C-FIND in place of storage commitment, twice if something is missing: archives index in their own time."""
        there: frozenset[str] = frozenset()
        for pause_s in (0.0, self._settings.commitment_wait_s):
            time.sleep(pause_s)
            there = frozenset[str]()
            for series_uid in (consignment.series_uid, *consignment.beside):
                found = dimse_query.instances_there(
                    self._address, study_uid=consignment.study_uid, series_uid=series_uid
                )
                if found is None:
                    raise Refuse(
                        "The archive offers neither storage commitment nor C-FIND.",
                        fix='Set commitment = "off" for it, or let the node query it.',
                    )
                there |= wanted & found
            if there == wanted:
                break
        with self._records.write() as connection:
            commitments.answer(
                connection,
                transaction_uid,
                committed=there,
                failures={},
                proof=CommitmentState.FOUND,
                at=self._clock(),
            )
        _count(self._name, "found" if there == wanted else "absent")

    def _move(self, transaction_uid: str, to: CommitmentState) -> None:
        with self._records.write() as connection:
            commitments.move(connection, transaction_uid, since=CommitmentState.ASKING, to=to)

    def _give_up(self, newest: Commitment) -> Standing:
        with self._records.write() as connection:
            commitments.move(connection, newest.transaction_uid, since=newest.state, to=CommitmentState.GIVEN_UP)
        _count(self._name, "given_up")
        trouble = f"No proof after {len(self._pauses_h) + 1} questions: {_what(newest)}."
        log.error("a delivery is not proven", destination=self._name, why=trouble)
        return Standing(pause_s=None, trouble=trouble)

    def _waits(self, newest: Commitment, place: int) -> str:
        return f"Question {place} of {len(self._pauses_h) + 1} to the archive: {_what(newest)}."


def _what(question: Commitment) -> str:
    if question.state is CommitmentState.ASKED:
        return "no answer yet"
    if question.state is CommitmentState.REFUSED:
        return "it did not take the question"
    counts = Counter(question.failures.values())
    return ", ".join(
        f"{count} absent" if reason == ABSENT else f"{reason} for {count}" for reason, count in sorted(counts.items())
    )


def _count(destination: str, outcome: str) -> None:
    METRICS.commitments.labels(destination=destination, outcome=outcome).inc()
