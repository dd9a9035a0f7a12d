"""Throughput and turnaround, by stage and pipeline."""

from collections.abc import Iterator
from typing import Final

from deploy.grafana.build.colours import BLUE, GREEN, ORANGE, VERMILION
from deploy.grafana.build.glance import HOURLY, LEFT
from deploy.grafana.build.panels import Panel, figure, heat_map, lines, ranking
from deploy.grafana.build.queries import (
    PIPELINE,
    buckets,
    grown,
    mean,
    measured,
    most,
    of,
    per_second,
    quantile,
    recorded,
    total,
)

TITLE: Final = "Imaging node: throughput and turnaround"
SAYS: Final = "How much each stage and pipeline does, and where the time between arrival and delivery goes."

_STUDIES: Final = f'label_replace({total(of("studies"), "state")}, "state", "study $1", "state", "(.*)")'


def rows() -> Iterator[tuple[str, list[Panel]]]:
    """The dashboard's rows: a title, and its panels."""
    yield "Series and jobs", [*_series()]
    yield "Arrival to delivery", [*_turnaround()]
    yield "Stages", [*_stages()]
    yield "What waits", [*_queue()]
    yield "Receiving", [*_receiving()]


def _series() -> Iterator[Panel]:
    yield lines(
        "Series per hour, by modality",
        "Series complete in each hour. Good: the usual shape of a day.",
        {"{{modality}}": f"{total(HOURLY, 'modality')} > 0"},
        bars=True,
        every="1h",
    )
    yield lines(
        "Jobs delivered per hour, by pipeline",
        "Jobs whose every result was confirmed everywhere, in each hour. Good: follows the series that the rules "
        "match.",
        {"{{pipeline}}": grown(LEFT, "pipeline")},
        bars=True,
        every="1h",
    )
    yield ranking(
        "Delivered in 24 h, by modality and pipeline",
        "Jobs delivered in the last 24 h. Good: what the department expects of a day.",
        grown(of("series_delivered_total", PIPELINE), "modality", "pipeline", window="24h") + " > 0",
        "{{modality}} {{pipeline}}",
        decimals=0,
    )
    yield ranking(
        "Jobs by state",
        "Jobs on record, by what became of them. Good: nearly all delivered.",
        total(of("jobs", PIPELINE), "state"),
        "{{state}}",
        decimals=0,
    )
    yield ranking(
        "Sets and studies by state",
        "Sets are series that were complete; unmatched ones fit no rule. Studies are those that rules with several "
        "series wait for. Good: few sets frozen (not routed yet), no study waiting for hours.",
        f"{total(of('sets'), 'state')} or {_STUDIES}",
        "{{state}}",
        decimals=0,
    )


def _turnaround() -> Iterator[Panel]:
    yield lines(
        "Median, by pipeline",
        "Half of the jobs of the hour before took less, from the last slice in to the last result confirmed "
        "everywhere. Good: level. A slow destination lifts it for all pipelines, an engine for one.",
        {"{{pipeline}}": _usual("p50_1h")},
        unit="s",
    )
    yield lines(
        "95th percentile, by pipeline",
        "95 of 100 jobs of the hour before took less. Good: below 15 minutes. Run book, ImagingNodeTurnaroundSlow.",
        {"{{pipeline}}": _usual("p95_1h")},
        unit="s",
    )
    yield heat_map(
        "All jobs",
        "How many jobs took how long. Good: one narrow band. Two bands: two kinds of jobs, or a destination that "
        "comes and goes.",
        buckets("turnaround_seconds", PIPELINE),
    )
    yield lines(
        "To the first result",
        "From the last slice in to the first derived slice confirmed, over the hour before. Good: level, well below "
        "arrival to delivery.",
        {name: quantile(share, "last_in_to_first_out_seconds") for name, share in (("median", 0.5), ("95th", 0.95))},
        unit="s",
    )


def _usual(share: str) -> str:
    return measured(most(recorded(f"pipeline:imaging_node_turnaround_seconds:{share}", PIPELINE), "pipeline"))


def _stages() -> Iterator[Panel]:
    yield lines(
        "Mean seconds of a stage",
        "Over the hour before. Good: level. What rose first is where to look.",
        {"{{stage}}": mean("stage_seconds", "stage", matchers=(PIPELINE,))},
        unit="s",
    )
    yield lines(
        "95th percentile of a stage",
        "Over the hour before. Good: level. receive above a second: the disk is slow; deliver: a destination is.",
        {"{{stage}}": measured(most(recorded("stage_pipeline:imaging_node_stage_seconds:p95_1h", PIPELINE), "stage"))},
        unit="s",
    )
    yield heat_map(
        "All runs of the stages",
        "How many runs took how long, all stages together. Good: bands that stay where they are.",
        buckets("stage_seconds", PIPELINE),
    )
    yield lines(
        "Seconds in the engine, by pipeline",
        "For one set, over the hour before: the median. Good: level; slower with the same series means that the "
        "machine or the device is busy with something else.",
        {"{{pipeline}}": quantile(0.5, "inference_seconds", "pipeline", matchers=(PIPELINE,))},
        unit="s",
    )
    yield lines(
        "Share of time, by stage",
        "Seconds that jobs spent in each stage, in each second: 1 is one job at work all the time. Good: infer below "
        "1, or series come faster than they are done.",
        {"{{stage}}": per_second(of("stage_seconds_sum", PIPELINE), "stage", window="1h")},
        shade=GREEN,
    )
    yield lines(
        "Slices made ahead",
        "Slices made before their series was complete, and those of them that it took, per hour. Good: nearly all "
        "used.",
        {"{{what}}": grown(of("eager_slices_total"), "what")},
        shade=BLUE,
    )


def _queue() -> Iterator[Panel]:
    yield lines(
        "Jobs that wait or run, by stage",
        "Good: back to 0 between rushes. A stage that only grows is stuck: run book, ImagingNodeQueueStuck.",
        {"{{stage}}": total(of("queue_depth", PIPELINE), "stage")},
        width=8,
    )
    yield lines(
        "Oldest, by stage",
        "How long the oldest unfinished job has been at its stage. Good: below 15 minutes.",
        {"{{stage}}": most(of("oldest_waiting_seconds"), "stage")},
        unit="s",
        limits=((900, ORANGE), (1800, VERMILION)),
        width=8,
    )
    yield lines(
        "Series not complete yet",
        "Series that came in part. Good: back to few. One that stays: its sender did not send all of it, "
        "`imaging-node show` says what is missing.",
        {"open": total(of("series_open"))},
        width=8,
    )


def _receiving() -> Iterator[Panel]:
    yield figure(
        "Coming in now",
        "Bytes per second of instances answered with success, over 5 minutes. Good: any; 0 is an idle scanner or a "
        "dead line.",
        per_second(of("received_bytes_total")),
        unit="Bps",
        height=8,
        empty="0",
    )
    yield lines(
        "Instances answered per minute, by status",
        "0x0000 is success. Good: nothing else. 0xa700: no room on the disk, senders try again; 0xc001: the UID was "
        "taken by another image. Run book, ImagingNodeStoreFailing.",
        {"{{status}}": f"60 * {per_second(of('instances_received_total'), 'status')} > 0"},
        width=10,
    )
    yield lines(
        "Associations per minute",
        "Accepted, and turned away by reason. Good: none turned away. Run book, ImagingNodeSendersRefused.",
        {
            "accepted": f"60 * {per_second(of('associations_total'))}",
            "refused: {{reason}}": f"60 * {per_second(of('associations_refused_total'), 'reason')}",
        },
        width=10,
    )
