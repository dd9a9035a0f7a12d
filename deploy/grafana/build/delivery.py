"""Destinations and proof of delivery, notices, and the triage: its delay and its drift."""

from collections.abc import Iterator
from typing import Final

from deploy.grafana.build.colours import BLUE, FLAWS, GREEN, ORANGE, SKY, UP, VERMILION, Steps
from deploy.grafana.build.glance import SLOW
from deploy.grafana.build.panels import Panel, figure, lines, listing, ranking
from deploy.grafana.build.queries import grown, least, most, of, quantile, total

TITLE: Final = "Imaging node: delivery, notices and triage"
SAYS: Final = (
    "Where results go and whether they arrived, who was told of a verdict and how soon, and whether the triage drifts."
)
# Seconds to a verdict at which somebody looks.
LATE: Final[Steps] = ((0, SKY), (120, ORANGE), (300, VERMILION))


def rows() -> Iterator[tuple[str, list[Panel]]]:
    """The dashboard's rows: a title, and its panels."""
    yield "Destinations", [*_destinations()]
    yield "Notices of verdicts", [*_notices()]
    yield "Triage: delay", [*_delay()]
    yield "Triage: drift, by scanner", [*_drift()]


def _destinations() -> Iterator[Panel]:
    yield figure(
        "Answers",
        "Whether the last attempt or question to each destination was answered. Good: up. Run book, "
        "ImagingNodeDestinationDown.",
        {"{{destination}}": least(of("destination_up"), "destination")},
        words=UP,
        height=8,
        empty="no destination",
    )
    yield lines(
        "Instances not confirmed yet",
        "Good: back to 0 after each series. One that only grows: that destination is down, full or refuses.",
        {"{{destination}}": total(of("deliveries_waiting"), "destination")},
        width=10,
    )
    yield lines(
        "Oldest result not confirmed",
        "Good: below 15 minutes; a destination that is down is tried for 72 h. Run book, ImagingNodeDeliveryLate.",
        {"{{destination}}": most(of("delivery_oldest_seconds"), "destination")},
        unit="s",
        limits=SLOW[1:],
        width=10,
    )
    yield lines(
        "Instances confirmed per hour",
        "Derived instances that each destination took. Good: follows the jobs delivered.",
        {"{{destination}}": grown(of("instances_delivered_total"), "destination")},
        width=8,
    )
    yield lines(
        "Attempts that failed, per hour",
        "Attempts that did not finish, and instances answered with a failure. Good: 0. Refused three times, a result "
        "is dead: run book, ImagingNodeDeadLetters.",
        {
            "attempts: {{destination}}": grown(of("delivery_attempts_failed_total"), "destination"),
            "instances: {{destination}}": grown(of("instances_failed_total"), "destination"),
        },
        shade=ORANGE,
        width=8,
    )
    yield ranking(
        "Storage commitment in 24 h",
        "Questions whether an archive keeps what it took, and its answers. Good: as many committed or found as asked; "
        "given_up "
        '0. Only where `commitment = "ask"`. Run book, ImagingNodeCommitmentFailed.',
        grown(of("commitments_total"), "destination", "outcome", window="24h"),
        "{{destination}}: {{outcome}}",
        decimals=0,
    )


def _notices() -> Iterator[Panel]:
    yield figure(
        "Not acknowledged in time",
        "Flags and withdrawals that a channel's receiver did not acknowledge in time. Good: 0. A reader may not know "
        "of a flag: run book, ImagingNodeNoticeNotAcknowledged.",
        {"{{channel}}": total(of("notice_alarm"), "channel")},
        steps=FLAWS,
        height=8,
        empty="no channel",
    )
    yield listing(
        "Notices by state",
        "How far flags and withdrawals came. Good: all delivered, or cancelled by a withdrawal. dead: given up, the "
        "receiver does not have it; lost: it may have it. `imaging-node replay` tells again.",
        {"Notices": (f"{total(of('notices'), 'channel', 'state')} > 0", "short")},
        labels={"channel": "Channel", "state": "State"},
        sort="Notices",
        width=10,
    )
    yield lines(
        "Verdict to acknowledgement",
        "From the verdict on record to its acknowledgement, over the hour before: the 95th percentile. Good: a few "
        "seconds.",
        {"{{channel}}": quantile(0.95, "triage_flag_to_acknowledgement_seconds", "channel")},
        unit="s",
        width=10,
    )


def _delay() -> Iterator[Panel]:
    yield figure(
        "Oldest without a verdict",
        "How long the oldest triage job has waited. Good: below 5 minutes. Run book, ImagingNodeTriageLate.",
        most(of("triage_oldest_waiting_seconds")),
        unit="s",
        steps=LATE,
        height=8,
        empty="no triage",
    )
    yield lines(
        "Arrival to verdict",
        "From the last slice in to the verdict on record, over the hour before. Good: 95 of 100 below 5 minutes.",
        {name: quantile(share, "triage_arrival_to_flag_seconds") for name, share in (("median", 0.5), ("95th", 0.95))},
        unit="s",
        limits=LATE[1:],
        width=10,
    )
    yield lines(
        "Verdicts per hour",
        "Good: mostly FLAG_NOT_RAISED. Many NOT_ANALYSABLE: another protocol, or another scanner.",
        {"{{flag}}": grown(of("triage_verdicts_total"), "flag")},
        bars=True,
        every="1h",
        shade=BLUE,
        width=10,
    )
    yield lines(
        "Withdrawn in 24 h",
        "Verdicts withdrawn by a person or because their source changed. Good: 0. Run book, "
        "ImagingNodeTriageWithdrawn.",
        {"withdrawn": grown(of("triage_withdrawals_total"), window="24h")},
        width=24,
        height=5,
    )


def _drift() -> Iterator[Panel]:
    yield figure(
        "Warnings",
        "What is believed to have changed. Good: 0. `imaging-node drift` says what; run book, ImagingNodeTriageDrift.",
        {"{{scanner}}": most(of("triage_drift_warnings"), "scanner")},
        steps=FLAWS,
        height=8,
        empty="no triage",
    )
    yield lines(
        "Share with a flag, and what is expected",
        "Of the newest studies that could be analysed. Good: near the expected one, that of the settings or of the "
        "scanner's first 200 studies.",
        {
            "{{scanner}}": most(of("triage_alarm_rate"), "scanner"),
            "{{scanner}}, expected": most(of("triage_expected_alarm_rate"), "scanner"),
        },
        unit="percentunit",
        width=10,
    )
    yield lines(
        "Evidence that this share changed",
        "Cumulated (CUSUM), as a share of the limit at which it is believed. Good: below 1.",
        {"{{scanner}}": " / ".join(most(of(f"triage_alarm_{one}"), "scanner") for one in ("cusum", "cusum_limit"))},
        unit="percentunit",
        limits=((1, VERMILION),),
        width=10,
    )
    yield ranking(
        "Not analysable",
        "Share of the newest studies that could not be analysed. Good: below 0.1.",
        most(of("triage_not_analysable_rate"), "scanner"),
        "{{scanner}}",
        unit="percentunit",
        steps=((0, SKY), (0.1, ORANGE)),
        empty="no study yet",
        width=6,
        height=7,
    )
    yield ranking(
        "Studies that these figures are of",
        "The newest, 200 at most. Below 50 the figures say little.",
        most(of("triage_window_studies"), "scanner"),
        "{{scanner}}",
        empty="no study yet",
        decimals=0,
        width=6,
        height=7,
    )
    yield lines(
        "Scores against the scanner's first",
        "Stability index (PSI) of the newest scores, and how far their mean percentile moved. Good: index below 0.1, "
        "from 0.25 on they come of another distribution; shift between -0.1 and 0.1. Nothing before 200 studies.",
        {
            "{{scanner}}: index": most(of("triage_score_psi"), "scanner"),
            "{{scanner}}: shift": most(of("triage_calibration_drift"), "scanner"),
            "{{scanner}}: moving mean, in standard deviations": most(of("triage_score_ewma"), "scanner"),
        },
        shade=GREEN,
        width=12,
        height=7,
    )
