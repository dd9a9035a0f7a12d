"""The picture of `imaging-node top`: everything that matters at any size, and no line too long."""

import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from node.records.pauses import Pause
from node.records.throughput import Hours, Made, Spread, Stopped, Triage, Waiting
from node.top.facts import Destination, Facts, Part, Work
from node.top.picture import TWO_COLUMNS, Paper, picture
from node.top.words import bar, seconds, size

NOW = 1_800_000_000.0
SIZES = ((80, 24), (40, 10), (100, 50), (TWO_COLUMNS, 24), (220, 60))


def destination(name: str, **values: object) -> Destination:
    made = Destination(name=name, up=True, down_s=0.0, jobs=0, instances=0, oldest_s=0.0, trouble="")
    return replace(made, **values)  # type: ignore[arg-type]


def stopped(state: str, pipeline: str, cause: str, count: int) -> Stopped:
    return Stopped(
        state=state, pipeline=pipeline, cause=cause, count=count, job="0123456789abcdef", reason="", since_s=60.0
    )


def facts(**values: object) -> Facts:
    """A node in all kinds of trouble."""
    spread = Spread(count=20, median_s=41.0, p95_s=92.0)
    work = Work(
        received=(Hours(modality="CT", pipeline="", counts=(1,) * 23 + (7,)),),
        made=Made(
            hours=(Hours(modality="CT", pipeline="ct-denoise", counts=(1,) * 23 + (5,)),),
            turnaround={"ct-denoise": spread},
            stages=dict.fromkeys(("assemble", "prepare", "infer", "check", "derive", "deliver"), spread),
        ),
        waiting=(Waiting(stage="infer", count=3, oldest_s=75.0),),
        stopped=(
            stopped("dead", "ct-denoise", "too_late", 2),
            stopped("failed", "ct-denoise", "fault", 1),
            stopped("held", "ct-denoise", "noise_removed", 4),
            stopped("paused", "ct-kernel", "paused", 6),
            stopped("refused", "mra-superres", "input_refused", 9),
        ),
        paused=(Pause(pipeline="ct-kernel", since=NOW - 600, by="N. Ight", why="stripes"),),
        triage=Triage(
            verdicts={"FLAG_RAISED": 3, "NOT_ANALYSABLE": 1}, to_verdict=spread, waiting=2, oldest_s=400.0,
            not_acknowledged=1, oldest_notice_s=90.0,
        ),
    )  # fmt: skip
    made = Facts(
        at=NOW,
        version="0.1.0",
        ae_title="IMAGING-NODE",
        window=24,
        parts=(
            Part(name="receiver-1", alive=True, seen_s=0.2),
            Part(name="worker", alive=False, seen_s=75.0),
            Part(name="page", alive=True, seen_s=0.2),
        ),
        engines_off=("ct_kernel",),
        engines_away=("head_ct_triage",),
        destinations=(
            destination("pacs"),
            destination(
                "archive", up=False, down_s=1320.0, jobs=3, instances=120, oldest_s=1320.0,
                trouble="Nobody answers at 10.0.0.9 port 104.",
            ),
            destination("spare", up=None),
        ),
        alarms={"ris": 1},
        disk_free=900_000_000,
        disk_reserve=1_073_741_824,
        disk_failed=False,
        work=work,
        trouble="",
        read_s=0.05,
    )  # fmt: skip
    return replace(made, **values)  # type: ignore[arg-type]


def drawn(found: Facts, width: int, height: int | None, *, plain: bool = False, **console: object) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, height=height or 200, **console).print(  # type: ignore[arg-type]
        picture(found, Paper(width=width, height=height, plain=plain))
    )
    return out.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_picture_fits_into_every_terminal(width: int, height: int) -> None:
    lines = drawn(facts(), width, height)

    assert len(lines) <= height
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(("width", "height"), [(80, 24), (TWO_COLUMNS, 24), (120, None)])
def test_everything_that_matters_is_there_without_colour(width: int, height: int | None) -> None:
    text = "\n".join(drawn(facts(), width, height))

    for words in (
        "DEGRADED", "ALARM ris: 1 verdict", "PAUSED ct-kernel for 10m00s by N. Ight: stripes", "worker DOWN for 1m15s",
        "engines OFF: ct_kernel", "engines AWAY: head_ct_triage",
        "BELOW THE RESERVE", "archive", "DOWN for 22m00s", "3 series (120 objects) wait",
        "CT in", "CT ct-denoise", "41 s / 1m32s", "infer 3 (oldest 1m15s)", "2 dead", "show 0123456789ab",
        "flag raised 3", "2 without a verdict, the oldest 6m40s",
    ):  # fmt: skip
        assert words in text, words
    assert "\x1b" not in text


def test_what_is_in_trouble_stands_first() -> None:
    lines = drawn(facts(), 80, None)

    assert next(line for line in lines if line.startswith("TO")).split()[1] == "archive"


def test_colour_comes_on_top_of_words() -> None:
    assert any("\x1b[" in line for line in drawn(facts(), 80, 24, force_terminal=True, color_system="standard"))


def test_a_node_that_does_not_run_says_so_and_shows_its_records() -> None:
    gone = tuple(replace(part, alive=False) for part in facts().parts)
    text = "\n".join(drawn(facts(parts=gone), 80, 24))

    assert "NOT RUNNING" in text
    assert "systemctl start imaging-node" in text
    assert "CT ct-denoise" in text


def test_a_node_without_records_says_why() -> None:
    text = "\n".join(drawn(facts(work=None, trouble="There are no records in /x yet."), 80, 24))

    assert "There are no records in /x yet." in text


def test_what_does_not_fit_is_counted() -> None:
    many = tuple(stopped("held", f"pipeline-{number}", "noise_removed", 1) for number in range(60))
    work = facts().work
    assert work is not None
    lines = drawn(facts(work=replace(work, stopped=many)), 80, 24)

    assert len(lines) <= 24
    (said,) = [line for line in lines if "more" in line]
    shown = sum("pipeline-" in line for line in lines)
    assert said.split()[2] == str(60 - shown)


def test_a_plain_picture_is_ascii() -> None:
    assert all(line.isascii() for line in drawn(facts(), 80, None, plain=True))
    assert not all(line.isascii() for line in drawn(facts(), 80, None))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.04, "0.0 s"), (9.94, "9.9 s"), (12.4, "12 s"), (59.6, "1m00s"), (200, "3m20s"), (3599.7, "1h00m"),
        (7500, "2h05m"), (86399, "1d00h"), (385_000, "4d11h"), (99 * 86400, "99d00h"), (313 * 86400, "313d"),
    ],
)  # fmt: skip
def test_spans_are_short(value: float, text: str) -> None:
    assert seconds(value) == text


def test_sizes_are_short() -> None:
    assert [size(value) for value in (999, 1500, 250e6, 39.7e9, 5e15)] == [
        "999 B", "1.5 kB", "250 MB", "39.7 GB", "5000 TB",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "width", "text"),
    [
        ((0, 1, 4, 8), 4, " ▁▄█"),
        ((0, 1, 800), 3, " ▁█"),  # what is not 0 can be seen
        ((1, 1, 1, 1, 4, 4), 3, "▂▂█"),
        ((9, 1, 1, 1, 1), 3, "█▂▂"),  # the newest hours are whole
        ((0, 0), 2, "  "),
        ((), 5, ""),
    ],
)
def test_bars_show_every_hour(counts: Sequence[int], width: int, text: str) -> None:
    assert bar(counts, width=width) == text
