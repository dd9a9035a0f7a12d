"""Guards and engines, for the physicist: what the checks measure, what they stop, which networks run."""

from collections.abc import Iterator
from typing import Final

from deploy.grafana.build.colours import BLUE, FLAWS, GREEN, ORANGE, SKY, VERMILION
from deploy.grafana.build.glance import STOPPED
from deploy.grafana.build.panels import Panel, figure, heat_map, lines, listing, ranking
from deploy.grafana.build.queries import PIPELINE, buckets, grown, least, measured, most, of, quantile

TITLE: Final = "Imaging node: guards and engines"
SAYS: Final = (
    "What the checks of each result measured and said, what they stopped, whether the networks still agree with their "
    "recorded cases, and how well series of a study were brought to one grid."
)
VERDICTS: Final = of("guard_verdicts_total", PIPELINE)


def rows() -> Iterator[tuple[str, list[Panel]]]:
    """The dashboard's rows: a title, and its panels."""
    yield "Guards", [*_guards()]
    yield "What was stopped", [*_stopped()]
    yield "Engines", [*_engines()]
    yield "Registration", [*_registration()]


def _guards() -> Iterator[Panel]:
    yield lines(
        "Verdicts per hour",
        "What the checks said of results. Good: pass. reject holds the job, caution marks the series.",
        {"{{verdict}}": grown(VERDICTS, "verdict")},
        bars=True,
        every="1h",
        width=8,
    )
    yield lines(
        "Share of results rejected or marked, by guard",
        "Of what each guard judged in the day before; guards that passed everything are left out. Good: near 0 and "
        "level. One that rises: the input changed (protocol, scanner, kernel) or the network does worse on it. Run "
        "book, ImagingNodeGuardRejecting.",
        {"{{pipeline}} {{guard}}": _in_a_day('verdict!="pass"') + " / " + _in_a_day() + " > 0"},
        unit="percentunit",
        limits=((0.3, ORANGE),),
        width=16,
    )
    yield listing(
        "What guards measured and said, last day",
        "Of each guard: results judged, the share that it rejected or marked, and the median and 95th percentile of "
        "what it measured, in its own unit and without sign. Good: as last week, well below what the guard rejects; "
        "limits stand in tests/bench/GUARDS.md.",
        {
            "Judged": (_in_a_day() + " > 0", "short"),
            "Not passed": (measured(_in_a_day('verdict!="pass"') + " / " + _in_a_day()), "percentunit"),
            "Median": (_quantile(0.5), "none"),
            "95th": (_quantile(0.95), "none"),
        },
        labels={"pipeline": "Pipeline", "guard": "Guard"},
        steps={"Not passed": ((0, SKY), (0.3, ORANGE))},
        sort="Not passed",
        empty="nothing judged",
        width=24,
        height=12,
    )
    yield lines(
        "What guards measure: median, over time",
        "Of the day before, each in its own unit and without sign. Good: level.",
        {"{{pipeline}} {{guard}}": _quantile(0.5)},
        width=24,
    )


def _quantile(share: float) -> str:
    return quantile(share, "guard_value", "pipeline", "guard", matchers=(PIPELINE,), window="24h")


def _in_a_day(*matchers: str) -> str:
    return grown(of("guard_verdicts_total", PIPELINE, *matchers), "pipeline", "guard", window="24h")


def _stopped() -> Iterator[Panel]:
    yield listing(
        "Stopped now, by reason",
        "Jobs held, paused, refused, failed or dead. Good: empty. `imaging-node show` gives the figures of each; the "
        "run book has a section for each reason.",
        {"Jobs": (f"{STOPPED} > 0", "short")},
        labels={"state": "State", "reason": "Reason", "pipeline": "Pipeline"},
        steps={"Jobs": FLAWS},
        sort="Jobs",
        empty="nothing stopped",
        width=9,
    )
    yield figure(
        "Pipelines that a person paused",
        "Good: each runs. PAUSED: its jobs wait until `imaging-node resume`; series come in all the same.",
        {"{{pipeline}}": most(of("pipeline_paused", PIPELINE), "pipeline")},
        words={0: ("runs", SKY), 1: ("PAUSED", ORANGE)},
        empty="no rule",
        width=5,
        height=8,
    )
    yield lines(
        "Stops per day, by reason",
        "Jobs that were held, refused or failed in the 24 h before. Good: level and few. One reason that rises: run "
        "book, ImagingNodeJobsHeld and ImagingNodeJobsFailed.",
        {"{{state}}: {{reason}}": grown(of("holds_total", PIPELINE), "state", "reason", window="24h") + " > 0"},
        shade=ORANGE,
        width=10,
    )


def _engines() -> Iterator[Panel]:
    yield listing(
        "Engines",
        "Whether each engine that a rule needs is whole and gives its recorded answers, and whether the server that "
        "runs it answers. Good: ready, and not away. OFF or AWAY: jobs of its pipelines wait or are held, nothing "
        "else stands in for it. Run book, ImagingNodeEngineMissing and ImagingNodeEngineAway.",
        {
            "Engine runs": (least(of("engine_ready"), "engine"), "short"),
            "Its server": (most(of("engine_away"), "engine"), "short"),
        },
        labels={"engine": "Engine"},
        words={
            "Engine runs": {0: ("OFF", VERMILION), 1: ("ready", SKY)},
            "Its server": {0: ("not away", SKY), 1: ("AWAY", VERMILION)},
        },
        empty="no engine",
        width=6,
    )
    yield ranking(
        "Known answers missed, in 7 days",
        "Checks at start, at night, after each load and build in which a network missed its recorded cases. Good: 0. "
        "It makes nothing until it agrees again.",
        grown(of("engine_checks_failed_total"), "engine", window="7d"),
        "{{engine}}",
        steps=FLAWS,
        decimals=0,
        width=6,
    )
    yield lines(
        "Waits for an engine's server, per hour",
        "Times that a job began to wait for the server that runs its engine. Good: 0. Only with a remote backend.",
        {"{{engine}}": grown(of("engine_waits_total"), "engine")},
        shade=BLUE,
    )
    yield lines(
        "Seconds in the engine, by pipeline",
        "For one set, over the day before: the 95th percentile. Good: level.",
        {"{{pipeline}}": quantile(0.95, "inference_seconds", "pipeline", matchers=(PIPELINE,), window="24h")},
        unit="s",
    )
    yield heat_map(
        "Seconds in the engine, all jobs",
        "How many sets took how long. Good: one narrow band for each pipeline.",
        buckets("inference_seconds", PIPELINE),
    )


def _registration() -> Iterator[Panel]:
    yield ranking(
        "How series were brought to one grid, in 7 days",
        "identity: they had it already; header: by their positions; moved: the patient had; held: not believed, a "
        "person looks. Good: few moved, hardly any held.",
        grown(of("registrations_total", PIPELINE), "pipeline", "role", "outcome", window="7d"),
        "{{pipeline}} {{role}}: {{outcome}}",
        empty="no pipeline takes several series",
        decimals=0,
    )
    yield lines(
        "Agreement of edges: median",
        "Of series and the one whose grid they were brought to, in the day before; 0 is chance, 1 is perfect. Good: "
        "above 0.3 and level. Run book, ImagingNodeRegistrationPoor.",
        {
            "{{pipeline}} {{role}}": quantile(
                0.5, "registration_quality", "pipeline", "role", matchers=(PIPELINE,), window="24h"
            )
        },
        shade=GREEN,
        most=1,
        width=16,
    )
