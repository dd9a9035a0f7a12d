"""Assembling: evidence freezes a series, the quiet timer is the last resort, a late slice makes a new set."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from node.completeness import Complete, Waiting, contiguous, not_released, not_settled
from node.errors import Retry
from node.records import events, evidence, instances, sets
from node.records.database import Records, migrate
from node.records.evidence import Claim, Evidence, Source
from node.records.instances import Instance
from node.records.open_series import OpenSeries
from node.records.states import Ending
from node.settings import Assemble
from node.stages.assemble import Assembler

SERIES = "1.2.2"
NOW = 1_000_000.0


def instance(number: int, *, association: str = "a", at: float = NOW, z_mm: float | None = None) -> Instance:
    z = number if z_mm is None else z_mm
    return Instance(
        sop_instance_uid=f"1.2.3.{number + 1}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        study_uid="1.2.1",
        series_uid=SERIES,
        transfer_syntax="1.2.840.10008.1.2.1",
        patient_key="p",
        file=f"{number}.dcm",
        bytes=10,
        sha256=f"{number:064x}",
        pixel_sha256=f"{number:064x}",
        header={
            "ImagePositionPatient": ("0", "0", f"{z:g}"),
            "ImageOrientationPatient": ("1", "0", "0", "0", "1", "0"),
            "PixelSpacing": ("1", "1"),
        },
        association=association,
        received_at=at,
    )


def association(opened: float, closed: float | None, ending: Ending | None = Ending.RELEASED) -> dict[str, Any]:
    return {"opened_at": NOW + opened, "closed_at": None if closed is None else NOW + closed, "ending": ending}


RELEASED, ABORTED, LOST = Ending.RELEASED, Ending.ABORTED, Ending.LOST


@pytest.mark.parametrize(
    ("associations", "others_open", "at", "waits_for"),
    [
        # one association, released
        ([association(0, 5)], 0, 5.5, "the sender released 0.5 s ago; 1.0 s are wanted"),
        ([association(0, 5)], 0, 6.1, None),
        # the sender has another one open, whatever it carries
        ([association(0, 5)], 1, 60, "1 association(s) of the sender are open"),
        # broken off, and never mended
        ([association(0, 5, ABORTED)], 0, 60, "an association broke off and no later one was released"),
        ([association(0, 5, LOST)], 0, 60, "an association broke off and no later one was released"),
        # broken off, then sent again
        ([association(0, 5, ABORTED), association(6, 8)], 0, 12, None),
        ([association(0, 5, LOST), association(6, 8)], 0, 12, None),
        # an earlier release mends nothing
        ([association(0, 5), association(6, 8, ABORTED)], 0, 60, "an association broke off"),
        ([association(0, 5, ABORTED), association(6, 8), association(9, 10, ABORTED)], 0, 60, "broke off"),
        # one association for each image: three of the longest pauses are waited
        ([association(0, 1), association(3, 4), association(5, 6)], 0, 11.9, "6.0 s are wanted"),
        ([association(0, 1), association(3, 4), association(5, 6)], 0, 12.1, None),
        # side by side: the pause is counted from the one that ended last
        ([association(0, 9), association(1, 2), association(8, 10)], 0, 11.1, None),
        # none was recorded
        ([], 0, 60, "not recorded"),
    ],
)  # fmt: skip
def test_a_sender_is_done_when_it_released_and_stayed_away(
    associations: list[dict[str, Any]], others_open: int, at: float, waits_for: str | None
) -> None:
    series = OpenSeries(series_uid=SERIES, study_uid="1.2.1", instances=3, first_at=NOW, last_at=NOW)

    found = not_released(associations, open_from_sender=others_open)
    found = found or not_settled(series, associations, now=NOW + at, settle_s=1.0)

    if waits_for is None:
        assert found is None
    else:
        assert found is not None
        assert waits_for in found.reason


def test_even_slices_show_that_none_is_missing() -> None:
    assert contiguous([instance(n).header for n in (2, 0, 3, 1)]) == Complete(
        evidence="associations released, 4 slices every 1.000 mm"
    )


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([instance(0)], "1 slice(s) cannot show that none is missing"),
        ([instance(0), instance(1)], "2 slice(s) cannot show that none is missing"),
        ([instance(n) for n in (0, 1, 3, 4)], "a gap of 2.00 mm after slice 2 of 4, not 1.00 mm"),
        ([instance(0), instance(1), instance(2), instance(3, z_mm=1)], "lie at the position of another slice"),
    ],
)
def test_slices_that_do_not_show_it_say_why(members: list[Instance], why: str) -> None:
    found = contiguous([member.header for member in members])

    assert isinstance(found, Waiting)
    assert why in found.reason


@dataclass
class Archive:
    """Answers as told: a count, None, or nobody there. `asked` counts the questions."""

    count: int | None = None
    away: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, study_uid: str, series_uid: str) -> int | None:
        self.asked.append((study_uid, series_uid))
        if self.away:
            raise Retry("C-FIND: no connection.")
        return self.count


class Scene:
    """A node's records with an assembler on them, a clock that the test moves, and senders that do as told."""

    def __init__(self, records: Records) -> None:
        self.records, self.now = records, NOW
        self.assembler = Assembler(records, Assemble(settle_s=1.0, quiet_s=30.0), clock=lambda: self.now)

    def ask(self, archive: Archive) -> None:
        settings = Assemble(settle_s=1.0, quiet_s=30.0, ask="archive")
        self.assembler = Assembler(self.records, settings, clock=lambda: self.now, ask=archive)

    def opens(self, key: str, *, calling_ae: str = "SCANNER") -> None:
        with self.records.write() as connection:
            instances.open_association(connection, key=key, calling_ae=calling_ae, receiver="r", at=self.now)

    def brings(self, key: str, *numbers: int) -> None:
        with self.records.write() as connection:
            for number in numbers:
                instances.add(connection, instance(number, association=key, at=self.now))

    def ends(self, key: str, ending: Ending = Ending.RELEASED) -> None:
        with self.records.write() as connection:
            instances.close_association(connection, key=key, at=self.now, ending=ending)

    def sends(self, key: str, *numbers: int, ending: Ending = Ending.RELEASED) -> None:
        self.opens(key)
        self.brings(key, *numbers)
        self.ends(key, ending)

    def says(self, said: Evidence) -> None:
        with self.records.write() as connection:
            evidence.note(connection, said)

    def hears(self, key: str, claim: Claim, *numbers: int) -> None:
        named = tuple(instance(number).sop_instance_uid for number in numbers)
        self.says(
            Evidence(
                source=Source.MPPS, key=key, study_uid="1.2.1", series_uid=SERIES, claim=claim, named=named, at=self.now
            )
        )

    def after(self, seconds: float) -> list[dict[str, Any]]:
        """Move the clock, look once; what was frozen."""
        self.now += seconds
        frozen = self.assembler.freeze_complete()
        with self.records.read() as connection:
            return [
                sets.get(connection, one) | {"members": len(sets.members(connection, one))} for one in frozen
            ]  # fmt: skip

    def why(self) -> str:
        found = self.assembler.look(SERIES)
        return found.reason if isinstance(found, Waiting) else ""


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    migrate(tmp_path)
    with closing(Records(tmp_path)) as records:
        yield Scene(records)


def test_a_released_and_contiguous_series_is_complete_a_second_later(scene: Scene) -> None:
    scene.sends("a", 0, 1, 2, 3)

    assert scene.after(0.5) == []
    (frozen,) = scene.after(0.6)
    assert frozen["evidence"] == "associations released, 4 slices every 1.000 mm"
    assert (frozen["version"], frozen["members"], frozen["state"]) == (1, 4, "frozen")
    assert scene.after(60) == []


def test_while_the_association_is_open_only_silence_completes_a_series(scene: Scene) -> None:
    scene.opens("a")
    scene.brings("a", 0, 1, 2)

    assert scene.after(29) == []
    (frozen,) = scene.after(1.5)
    assert frozen["evidence"] == "nothing came for 30 s"


def test_another_open_association_of_the_same_sender_is_waited_for_and_one_of_others_is_not(scene: Scene) -> None:
    scene.sends("a", 0, 1, 2)
    scene.opens("b")
    scene.opens("c", calling_ae="OTHER")

    assert scene.after(5) == []
    scene.ends("b")
    assert len(scene.after(5)) == 1


def test_a_gap_waits_for_the_missing_slice_and_then_it_is_complete(scene: Scene) -> None:
    scene.sends("a", 0, 1, 3, 4)

    assert scene.after(5) == []
    assert "a gap of 2.00 mm after slice 2 of 4" in scene.why()
    scene.sends("b", 2)
    (frozen,) = scene.after(20)
    assert frozen["members"] == 5
    assert scene.why() == ""


def test_two_slices_wait_for_the_quiet_timer(scene: Scene) -> None:
    scene.sends("a", 0, 1)

    assert scene.after(20) == []
    assert scene.why() == "2 slice(s) cannot show that none is missing"
    assert [one["evidence"] for one in scene.after(11)] == ["nothing came for 30 s"]


def test_an_aborted_association_waits_for_the_repeat(scene: Scene) -> None:
    scene.sends("a", 0, 1, 2, ending=Ending.ABORTED)
    assert scene.after(10) == []
    scene.sends("b", 3, 4, 5)
    (frozen,) = scene.after(2 * 15)
    assert frozen["members"] == 6


def test_associations_of_a_dead_receiver_say_that_slices_are_missing(scene: Scene) -> None:
    scene.opens("a")
    scene.brings("a", 0, 1, 2)
    with scene.records.write() as connection:
        assert instances.close_lost_associations(connection, receivers=["r"], at=scene.now) == 1

    assert scene.after(20) == []
    assert len(scene.after(11)) == 1


def test_a_clock_that_was_set_back_does_not_stop_the_timer(scene: Scene) -> None:
    scene.opens("a")
    scene.brings("a", 0, 1)

    (frozen,) = scene.after(-3600)
    assert frozen["evidence"] == "nothing came for 30 s"


def test_a_late_slice_makes_a_second_version_with_all_of_them(scene: Scene) -> None:
    scene.sends("a", 0, 1, 2)
    (first,) = scene.after(2)
    scene.now += 3600
    scene.sends("b", 3)
    (second,) = scene.after(31)

    assert (first["version"], second["version"]) == (1, 2)
    assert (first["members"], second["members"]) == (3, 4)
    assert first["id"] != second["id"]
    with scene.records.read() as connection:
        assert [one["id"] for one in sets.of_series(connection, SERIES)] == [first["id"], second["id"]]
        assert len(sets.members(connection, first["id"])) == 3  # frozen means frozen
        assert [e["detail"]["instances"] for e in events.of(connection, second["id"])] == [4]


def test_a_slice_that_comes_between_looking_and_freezing_keeps_the_set_open(scene: Scene) -> None:
    scene.sends("a", 0, 1, 2)
    with scene.records.write() as connection:
        looked_at = instances.of_series(connection, SERIES)
    scene.brings("a", 3)

    with scene.records.write() as connection:
        assert sets.freeze(connection, looked_at, evidence="x", at=scene.now) is None
        assert sets.of_series(connection, SERIES) == []


def test_the_same_members_are_the_same_set_in_whatever_order_they_came(tmp_path: Path) -> None:
    found = set()
    for number, order in enumerate([(0, 1, 2), (2, 0, 1)]):
        state = tmp_path / str(number)
        state.mkdir()
        migrate(state)
        with closing(Records(state)) as records:
            scene = Scene(records)
            scene.sends("a", *order)
            (frozen,) = scene.after(2)
            found.add(frozen["id"])
    assert len(found) == 1


def test_the_archive_counts_as_many_complete_even_with_a_gap(scene: Scene) -> None:
    archive = Archive(count=4)
    scene.ask(archive)
    scene.sends("a", 0, 1, 3, 4)

    (frozen,) = scene.after(2)
    assert frozen["evidence"] == "the archive has 4 instances of the series, 4 are here"
    assert archive.asked == [("1.2.1", SERIES)]


def test_the_archive_has_more_the_series_waits_though_it_is_even(scene: Scene) -> None:
    archive = Archive(count=5)
    scene.ask(archive)
    scene.sends("a", 0, 1, 2, 3)

    assert scene.after(2) == []
    assert scene.why() == "the archive has 5 instances of the series, 4 are here"
    assert scene.after(2) == []
    assert len(archive.asked) == 1  # nothing new came: nothing new is asked
    scene.sends("b", 4)
    assert [one["members"] for one in scene.after(20)] == [5]


@pytest.mark.parametrize("archive", [Archive(count=None), Archive(count=2), Archive(away=True)])
def test_an_archive_that_knows_less_or_is_away_leaves_it_to_the_slices(scene: Scene, archive: Archive) -> None:
    scene.ask(archive)
    scene.sends("a", 0, 1, 2, 3)

    (frozen,) = scene.after(2)
    assert frozen["evidence"] == "associations released, 4 slices every 1.000 mm"
    assert len(archive.asked) == 1


def test_who_knows_that_no_more_will_come_need_not_wait(scene: Scene) -> None:
    scene.sends("a", 0)

    assert len(scene.assembler.freeze_complete(everything_is_here=True)) == 1


def test_a_series_whose_named_instances_are_all_here_is_complete_while_its_association_is_open(scene: Scene) -> None:
    scene.opens("a")
    scene.brings("a", 0, 1, 3)
    assert scene.after(0.1) == []

    scene.hears("step", Claim.COMPLETED, 0, 1, 3)
    (frozen,) = scene.after(0.1)
    assert frozen["evidence"] == "mpps names 3 instances, all are here"


def test_more_is_named_than_here_the_series_waits_longer_than_the_quiet_timer(scene: Scene) -> None:
    scene.hears("step", Claim.COMPLETED, 0, 1, 2, 3)  # before the first slice comes
    scene.sends("a", 0, 1, 2)

    assert scene.after(100) == []
    assert scene.why() == "mpps names 4 instances, 3 are here"
    scene.sends("b", 3)
    assert [one["members"] for one in scene.after(0.1)] == [4]


def test_what_was_named_and_never_comes_is_waited_for_only_so_long(scene: Scene) -> None:
    scene.sends("a", 0, 1, 2)
    scene.hears("step", Claim.COMPLETED, 0, 1, 2, 3)

    assert scene.after(599) == []
    (frozen,) = scene.after(2)
    assert frozen["evidence"] == "nothing came for 30 s; but mpps names 4 instances, 3 are here"


def test_as_many_but_others_than_were_named_is_not_complete(scene: Scene) -> None:
    scene.opens("a")
    scene.brings("a", 0, 1, 9)
    scene.hears("step", Claim.COMPLETED, 0, 1, 2)

    assert scene.after(60) == []
    assert scene.why() == "mpps names 3 instances, 1 of them are not here"


def test_more_is_here_than_was_named_the_slices_decide(scene: Scene) -> None:
    scene.hears("step", Claim.COMPLETED, 0, 1)
    scene.sends("a", 0, 1, 2)

    assert scene.after(0.5) == []
    assert [one["evidence"] for one in scene.after(0.6)] == ["associations released, 3 slices every 1.000 mm"]


def test_two_sources_name_more_together_than_each(scene: Scene) -> None:
    scene.opens("a")
    scene.brings("a", 0, 1, 2)
    scene.hears("first step", Claim.COMPLETED, 0, 1)
    scene.hears("second step", Claim.COMPLETED, 2, 3)
    assert scene.after(60) == []
    assert "4 instances, 3 are here" in scene.why()

    scene.brings("a", 3)
    assert len(scene.after(0.1)) == 1


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        (Claim.DISCONTINUED, "the procedure step was discontinued"),
        (Claim.IN_PROGRESS, "the procedure step is in progress"),
    ],
)
def test_a_step_that_goes_on_or_was_broken_off_leaves_the_series_to_silence_and_marks_it(
    scene: Scene, claim: Claim, why: str
) -> None:
    scene.sends("a", 0, 1, 2)
    scene.hears("step", claim, 0, 1, 2)

    assert scene.after(20) == []
    assert scene.why() == why
    assert [one["evidence"] for one in scene.after(11)] == [f"nothing came for 30 s; but {why}"]


def test_a_number_without_names_counts(scene: Scene) -> None:
    scene.opens("a")
    scene.brings("a", 0, 1)
    scene.says(Evidence(source=Source.STABLE, key="7", study_uid="1.2.1", series_uid=SERIES,
                        claim=Claim.COMPLETED, instances=3, at=scene.now))  # fmt: skip
    assert scene.after(60) == []
    scene.brings("a", 2)
    assert [one["evidence"] for one in scene.after(0.1)] == ["orthanc-stable names 3 instances, all are here"]


def acquired(number: int, total: int, *, acquisition: str = "1", association: str = "a") -> Instance:
    one = instance(number, association=association)
    stated = {"ImagesInAcquisition": (str(total),), "AcquisitionNumber": (acquisition,)}
    return replace(one, header=one.header | stated)


@pytest.mark.parametrize(
    ("members", "frozen"),
    [
        ([acquired(n, 4) for n in range(4)], 1),
        ([acquired(n, 4) for n in range(3)], 0),  # fewer than stated
        ([acquired(n, 4) for n in (0, 1, 2, 5)], 0),  # as many, not contiguous
        ([acquired(n, 4, acquisition=str(n // 2)) for n in range(4)], 0),  # another acquisition may follow
        ([*(acquired(n, 4) for n in range(3)), acquired(3, 5)], 0),
    ],
)
def test_slices_that_state_their_number_need_not_settle(scene: Scene, members: list[Instance], frozen: int) -> None:
    scene.opens("a")
    with scene.records.write() as connection:
        for member in members:
            instances.add(connection, member)
    assert scene.after(0.01) == []  # the association is open

    scene.ends("a")
    assert len(scene.after(0.01)) == frozen


@contextmanager
def queries() -> Iterator[list[str]]:
    """What the database is asked meanwhile."""
    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *others: Any) -> None:
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_thousands_of_open_series_cost_little_at_every_look(scene: Scene) -> None:
    scene.opens("a")
    with scene.records.write() as connection:
        for number in range(2000):
            instances.add(connection, replace(instance(number), series_uid=f"1.2.2.{number + 1}"))
    scene.ends("a")

    with queries() as first:
        scene.after(5)  # everything is read once
    with queries() as again:
        assert scene.after(1) == []

    assert len(first) > 2000
    assert len(again) < 20
