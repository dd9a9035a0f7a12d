"""The gauges of triage, read from the records at scrape time."""

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Connection

from node.metrics import Level
from node.records import notices
from node.settings.scanners import Scanner
from node.worklist.drift import Drift
from node.worklist.watch import by_scanner

_OF_SCANNER: Final[tuple[tuple[str, str, Callable[[Drift], float | None]], ...]] = (
    ("triage_window_studies", "Newest studies that the gauges of triage are of", lambda one: float(one.studies)),
    ("triage_not_analysable_rate", "Share of them that was not analysable", lambda one: one.not_analysable),
    ("triage_alarm_rate", "Share of the analysed ones of them with a flag", lambda one: one.alarm_rate),
    (
        "triage_expected_alarm_rate",
        "The same of the settings, or of the first studies of the scanner",
        lambda one: one.expected_rate,
    ),
    (
        "triage_alarm_cusum",
        "Cumulated evidence that the alarm rate is not the expected one; see triage_alarm_cusum_limit",
        lambda one: None if one.sums is None else max(one.sums.rose, one.sums.fell),
    ),
    (
        "triage_alarm_cusum_limit",
        "Where triage_alarm_cusum is believed",
        lambda one: None if one.sums is None else one.sums.limit,
    ),
    (
        "triage_calibration_drift",
        "Mean percentile of the newest scores, minus that of the scanner's first ones",
        lambda one: one.shift,
    ),
    ("triage_score_psi", "Stability index of the newest scores against the scanner's first ones", lambda one: one.psi),
    (
        "triage_score_ewma",
        "Weighted mean of the scanner's percentiles, in standard deviations off its first ones",
        lambda one: one.ewma,
    ),
    ("triage_drift_warnings", "What is believed to have changed", lambda one: float(len(one.warnings))),
)


def levels(connection: Connection, scanners: Sequence[Scanner]) -> list[Level]:
    """Drift of each scanner, and the notices by channel. What cannot be said yet has no value."""
    found = by_scanner(connection, scanners)
    shown = [
        Level(
            name=name,
            text=text,
            label="scanner",
            values={label: value for label, one in found.items() if (value := pick(one)) is not None},
        )
        for name, text, pick in _OF_SCANNER
    ]
    return [
        *shown,
        Level(
            name="notices",
            text="Notices of verdicts, by channel and state",
            label="channel state",
            values=notices.counts(connection),
        ),
        Level(
            name="notice_alarm",
            text="Notices that nobody acknowledged in time, by channel",
            label="channel",
            values={channel: float(count) for channel, count in notices.alarms(connection).items()},
        ),
    ]
