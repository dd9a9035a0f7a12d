"""At a glance, for the operator: how much comes and leaves, how long it takes, what waits, what failed and why."""

from collections.abc import Iterator
from typing import Final

from deploy.grafana.build.colours import FLAWS, ORANGE, SKY, UP, VERMILION, Steps
from deploy.grafana.build.panels import Panel, figure, lines, listing
from deploy.grafana.build.queries import INSTANCE, PIPELINE, grown, least, most, of, quantile, recorded, total

TITLE: Final = "Imaging node: at a glance"
SAYS: Final = (
    "How many series come and leave, how long it takes from the last slice in to the last result delivered, what "
    "waits, what failed and why. Sky blue is well, orange and vermilion want a look; each panel's description says "
    "what is good."
)
# Seconds from arrival to delivery, and of waiting, at which somebody looks; at the second of them alerts fire.
SLOW: Final[Steps] = ((0, SKY), (900, ORANGE), (1800, VERMILION))
TURNAROUND: Final = {
    name: quantile(share, "turnaround_seconds", matchers=(PIPELINE,))
    for name, share in (("median", 0.5), ("95th", 0.95))
}
FIRING: Final = 'ALERTS{alertstate="firing", alertname=~"ImagingNode.*"}'
ARRIVED: Final = of("series_received_total")
HOURLY: Final = recorded("modality:imaging_node_series_received:increase1h")
LEFT: Final = of("turnaround_seconds_count", PIPELINE)
# What was refused never passes and nobody has to do anything about it: it counts in the last 24 h, not now.
STOPPED: Final = total(of("jobs_stopped", PIPELINE, 'state!="refused"'), "state", "reason", "pipeline")
STOPS: Final = grown(of("holds_total", PIPELINE), "state", "reason", "pipeline", window="24h")


def rows() -> Iterator[tuple[str, list[Panel]]]:
    """The dashboard's rows: a title, and its panels."""
    yield "", [*_figures(), *_courses(), *_lists()]


def _figures() -> Iterator[Panel]:
    yield figure(
        "Node",
        "Whether Prometheus reaches each node's page. Good: up. DOWN: nothing below is of now; run book, "
        "ImagingNodeDown.",
        {"{{instance}}": least(f'up{{job="imaging-node", {INSTANCE}}}', "instance")},
        words=UP,
        empty="no node known",
        width=3,
    )
    yield figure(
        "Series in, last hour",
        "Series complete in the last hour, of any modality. Good: what the scanners make at this time of day. 0 in "
        "working hours: run book, ImagingNodeNothingReceived.",
        grown(ARRIVED),
        decimals=0,
        empty="0",
        width=3,
    )
    yield figure(
        "Results out, last hour",
        "Jobs whose every result every destination confirmed in the last hour. Good: as many as rules match of what "
        "came in.",
        grown(LEFT),
        decimals=0,
        empty="0",
        width=3,
    )
    yield figure(
        "Arrival to delivery, last hour",
        "From a series' last slice in to the last of its results confirmed everywhere: half of the jobs stayed below "
        "the median, 95 of 100 below the other. Good: below 15 minutes; what is usual here, the page Throughput "
        "shows.",
        TURNAROUND,
        unit="s",
        steps=SLOW,
        empty="none delivered",
        decimals=0,
    )
    yield figure(
        "Waiting now",
        "Jobs that wait or run. Good: comes down again after each rush. The table below says at which stage they are.",
        f"sum({of('queue_depth', PIPELINE)}) or vector(0)",
        decimals=0,
        width=3,
    )
    yield figure(
        "Longest wait",
        "For how long nothing has happened to what has rested longest, at any stage. Good: below 15 minutes.",
        f"max({of('oldest_waiting_seconds')})",
        unit="s",
        steps=SLOW,
        decimals=0,
        width=3,
    )
    yield figure(
        "Stopped now",
        "Jobs that go no further before a person did something: held, paused, failed, dead. Good: 0. The table below "
        "says why.",
        f"sum({STOPPED}) or vector(0)",
        steps=FLAWS,
        decimals=0,
        width=2,
    )
    yield figure(
        "Alerts firing",
        "Rules of Prometheus that fire now. Good: 0. The table below names them; each has a section in the run book.",
        f"count({FIRING}) or vector(0)",
        steps=FLAWS,
        decimals=0,
        width=3,
    )


def _courses() -> Iterator[Panel]:
    yield lines(
        "Series per hour, by modality",
        "Series complete in each hour. Good: the usual shape of a day. A modality that ends at once: its scanner or "
        "the PACS's rule no longer sends.",
        {"{{modality}}": f"{total(HOURLY, 'modality')} > 0"},
        bars=True,
        every="1h",
        width=8,
    )
    yield lines(
        "Results per hour, by pipeline",
        "Jobs delivered in each hour. Good: follows the series that its rules match. A gap with series coming in: "
        "look at what waits and what stopped.",
        {"{{pipeline}}": grown(LEFT, "pipeline")},
        bars=True,
        every="1h",
        width=8,
    )
    yield lines(
        "Arrival to delivery",
        "Seconds from the last slice in to the last result confirmed everywhere, over the hour before. Good: level, "
        "below 15 minutes. A rise with a steady number of series: a destination or an engine became slow.",
        TURNAROUND,
        unit="s",
        width=8,
    )


def _lists() -> Iterator[Panel]:
    yield listing(
        "What waits, and where",
        "Jobs that wait or run at each stage, and for how long nothing has happened to the oldest of them. Good: an "
        "oldest below 15 minutes. Run book, ImagingNodeQueueStuck.",
        {
            "Jobs": (f"{total(of('queue_depth', PIPELINE), 'stage')} > 0", "short"),
            "Oldest": (f"{most(of('oldest_waiting_seconds'), 'stage')} > 0", "s"),
        },
        labels={"stage": "Stage"},
        steps={"Oldest": SLOW},
        sort="Oldest",
        empty="nothing waits",
        width=4,
    )
    yield listing(
        "What failed, and why",
        "Jobs stopped now, and how often one stopped in the last 24 h, by reason. Good: empty. held: a person looks, "
        "then `release` or `discard`; failed and dead: mend the cause, then `replay`; refused: this input never "
        "passes. The run book has a section for each reason.",
        {"Now": (f"{STOPPED} > 0", "short"), "24 h": (f"round({STOPS}) > 0", "short")},
        labels={"state": "State", "reason": "Reason", "pipeline": "Pipeline"},
        steps={"Now": FLAWS},
        sort="Now",
        empty="nothing stopped",
        width=8,
    )
    yield listing(
        "Destinations",
        "Whether the last attempt or question to each was answered, how many results wait for it, and how long the "
        "oldest has. Good: up, and an oldest below 15 minutes. Nothing is lost meanwhile: it is sent for 72 h. Run "
        "book, ImagingNodeDestinationDown.",
        {
            "Answers": (least(of("destination_up"), "destination"), "short"),
            "Waiting": (total(of("deliveries_waiting"), "destination"), "short"),
            "Oldest": (most(of("delivery_oldest_seconds"), "destination"), "s"),
        },
        labels={"destination": "Destination"},
        words={"Answers": UP},
        steps={"Oldest": SLOW},
        sort="Oldest",
        width=6,
    )
    yield listing(
        "Alerts",
        "What fires, and since when. Good: empty. A click on the name opens the run book: what it means for patients, "
        "what to look at, what to do.",
        {
            "Since": (
                f"max by (alertname, severity) (1000 * ALERTS_FOR_STATE and ignoring (alertstate) {FIRING})",
                "dateTimeFromNow",
            )
        },
        labels={"alertname": "Alert", "severity": "Severity"},
        link=("Alert", "${runbook}#:~:text=%23%23%20${__data.fields.Alert}"),
        widths={"Alert": 240, "Severity": 80},
        sort="Since",
        empty="none fires",
        width=6,
    )
