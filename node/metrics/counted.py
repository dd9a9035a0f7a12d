"""Every metric of the node, by prometheus-client in its multi-process mode: the page adds up all processes.

Names start with `imaging_node_`; labels come from closed sets. Counts of states are read from the records at scrape
time, so that they are right whatever was killed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from pipelines.report import Report
from pipelines.triage import Flag

_P: Final = "imaging_node_"
_STAGE_BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_VALUE_BUCKETS: Final = (0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 5, 10, 30, 100)
_AGREEMENT_BUCKETS: Final = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
# Why connections and associations are refused.
REFUSALS: Final = (
    "unknown_peer", "called_ae_title", "limit", "address_limit", "silent", "malformed", "tls",
)  # fmt: skip
_WAIT_BUCKETS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 900, 3600, 4 * 3600, 24 * 3600)
_FLAG_BUCKETS: Final = (0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 900, 3600, 4 * 3600)


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The metrics that processes count up themselves."""

    associations: Counter
    associations_refused: Counter
    stored: Counter
    received_bytes: Counter
    stage_seconds: Histogram
    inference_seconds: Histogram
    instances_delivered: Counter
    instances_failed: Counter
    delivery_failures: Counter
    commitments: Counter
    holds: Counter
    guard_verdicts: Counter
    guard_value: Histogram
    engine_checks_failed: Counter
    engine_waits: Counter
    eager_slices: Counter
    registrations: Counter
    registration_quality: Histogram
    last_in_to_first_out: Histogram
    starts: Counter
    instances_purged: Counter
    purged_bytes: Counter
    triage_arrival_to_flag: Histogram
    triage_flag_to_acknowledgement: Histogram
    triage_verdicts: Counter
    triage_withdrawals: Counter
    certificate_expires: Gauge


METRICS: Final = Metrics(
    associations=Counter(_P + "associations", "Associations accepted"),
    associations_refused=Counter(_P + "associations_refused", "Associations rejected", ["reason"]),
    stored=Counter(_P + "instances_received", "C-STORE requests answered", ["status"]),
    received_bytes=Counter(_P + "received_bytes", "Data set bytes of instances answered with success"),
    stage_seconds=Histogram(_P + "stage_seconds", "Seconds a stage took", ["stage"], buckets=_STAGE_BUCKETS),
    inference_seconds=Histogram(
        _P + "inference_seconds", "Seconds inside the engine for one set", ["pipeline"], buckets=_STAGE_BUCKETS
    ),
    instances_delivered=Counter(_P + "instances_delivered", "Derived instances confirmed", ["destination"]),
    instances_failed=Counter(_P + "instances_failed", "Derived instances answered with a failure", ["destination"]),
    delivery_failures=Counter(
        _P + "delivery_attempts_failed", "Delivery attempts that did not finish", ["destination"]
    ),
    commitments=Counter(
        _P + "commitments",
        "Questions to archives whether they keep what they took, and answers",
        ["destination", "outcome"],
    ),
    holds=Counter(_P + "holds", "Jobs held, refused or failed", ["state", "reason"]),
    engine_checks_failed=Counter(
        _P + "engine_checks_failed", "Engines that missed their recorded cases and are off", ["engine"]
    ),
    engine_waits=Counter(_P + "engine_waits", "Times that a job began to wait for an engine's server", ["engine"]),
    eager_slices=Counter(
        _P + "eager_slices", "Slices made before their series was complete, and those that it took", ["what"]
    ),
    registrations=Counter(
        _P + "registrations", "Series brought to the grid of another one, and how", ["pipeline", "role", "outcome"]
    ),
    registration_quality=Histogram(
        _P + "registration_quality",
        "Agreement of edges of a series and the one whose grid it was brought to; 0 is chance, 1 is perfect",
        ["pipeline", "role"],
        buckets=_AGREEMENT_BUCKETS,
    ),
    guard_verdicts=Counter(_P + "guard_verdicts", "Verdicts of the checks", ["pipeline", "guard", "verdict"]),
    guard_value=Histogram(
        _P + "guard_value", "What the checks measured, without its sign", ["pipeline", "guard"], buckets=_VALUE_BUCKETS
    ),
    last_in_to_first_out=Histogram(
        _P + "last_in_to_first_out_seconds", "Last slice in to first derived slice confirmed", buckets=_WAIT_BUCKETS
    ),
    instances_purged=Counter(_P + "instances_purged", "Received files removed because they were kept long enough"),
    purged_bytes=Counter(_P + "purged_bytes", "Their bytes"),
    starts=Counter(
        _P + "process_starts", "Starts of the node's processes; more than one each says that some died", ["part"]
    ),
    triage_arrival_to_flag=Histogram(
        _P + "triage_arrival_to_flag_seconds",
        "Last slice in to the verdict on record",
        ["scanner"],
        buckets=_FLAG_BUCKETS,
    ),
    triage_flag_to_acknowledgement=Histogram(
        _P + "triage_flag_to_acknowledgement_seconds",
        "Verdict on record to its acknowledgement by the receiver of a channel",
        ["channel"],
        buckets=_FLAG_BUCKETS,
    ),
    triage_verdicts=Counter(_P + "triage_verdicts", "Verdicts of triage", ["scanner", "flag"]),
    triage_withdrawals=Counter(_P + "triage_withdrawals", "Verdicts of triage that were withdrawn"),
    certificate_expires=Gauge(
        _P + "certificate_expires_timestamp_seconds",
        "When the node's own certificate ends, seconds since the epoch",
        ["use"],
        multiprocess_mode="mostrecent",
    ),
)


def prime_receiver(statuses: Iterable[int]) -> None:
    """Show every series of the receiver from the start, at 0: a rate needs a first value."""
    for status in statuses:
        METRICS.stored.labels(status=f"{status:#06x}")
    for reason in REFUSALS:
        METRICS.associations_refused.labels(reason=reason)
    METRICS.stage_seconds.labels(stage="receive")


def prime_web(statuses: Iterable[int]) -> None:
    """The same for what comes by HTTP."""
    for status in statuses:
        METRICS.stored.labels(status=f"{status:#06x}")
    for reason in ("no_credentials", "limit"):
        METRICS.associations_refused.labels(reason=reason)


def prime_worker(destinations: Iterable[str], pipelines: Iterable[str], engines: Iterable[str]) -> None:
    """The same for the worker."""
    for what in ("made", "used"):
        METRICS.eager_slices.labels(what=what)
    for name in engines:
        METRICS.engine_checks_failed.labels(engine=name)
        METRICS.engine_waits.labels(engine=name)
    for name in destinations:
        METRICS.instances_delivered.labels(destination=name)
        METRICS.instances_failed.labels(destination=name)
        METRICS.delivery_failures.labels(destination=name)
        for outcome in ("asked", "refused", "committed", "failed", "found", "absent", "given_up"):
            METRICS.commitments.labels(destination=name, outcome=outcome)
    for name in pipelines:
        METRICS.inference_seconds.labels(pipeline=name)
    for stage in ("route", "prepare", "register", "infer", "check", "derive", "deliver"):
        METRICS.stage_seconds.labels(stage=stage)
    for state, reason in (
        ("held", "worker_died"), ("held", "engine_off"), ("held", "not_registered"), ("refused", "input_refused"),
        ("failed", "retries_exhausted"), ("failed", "fault"),
    ):  # fmt: skip
        METRICS.holds.labels(state=state, reason=reason)


def prime_triage(scanners: Iterable[str], channels: Iterable[str]) -> None:
    """The same for triage: `scanners` as `node.worklist.scanners.labels` gives them, `channels` by name."""
    for name in scanners:
        METRICS.triage_arrival_to_flag.labels(scanner=name)
        for flag in Flag:
            METRICS.triage_verdicts.labels(scanner=name, flag=flag.value)
    for name in channels:
        METRICS.triage_flag_to_acknowledgement.labels(channel=name)


def count_triage(scanner: str, flag: Flag, seconds: float) -> None:
    """Count a verdict. `seconds`: from the last slice in to the verdict on record; a clock set back gives 0."""
    METRICS.triage_verdicts.labels(scanner=scanner, flag=flag.value).inc()
    METRICS.triage_arrival_to_flag.labels(scanner=scanner).observe(max(seconds, 0.0))


def count_verdicts(report: Report) -> None:
    """Count what the checks of one result found. Their names are a closed set: those that the code gives them."""
    for one in report.findings:
        METRICS.guard_verdicts.labels(pipeline=report.pipeline, guard=one.name, verdict=one.verdict.value).inc()
        if one.value is not None:
            METRICS.guard_value.labels(pipeline=report.pipeline, guard=one.name).observe(abs(one.value))


@dataclass(frozen=True, kw_only=True)
class Level:
    """One gauge read at scrape time: values by label. Several labels stand in `label` parted by blanks, and values have
    as many keys."""

    name: str
    text: str
    label: str
    values: Mapping[str, float] | Mapping[tuple[str, ...], float]


class _Levels(Collector):
    def __init__(self, levels: Sequence[Level]) -> None:
        self._levels = levels

    def collect(self) -> Iterable[Metric]:
        for level in self._levels:
            family = GaugeMetricFamily(_P + level.name, level.text, labels=level.label.split())
            for value, number in level.values.items():
                key = (value,) if isinstance(value, str) else value
                family.add_metric(key if level.label else [], number)
            yield family


def exposition(folder: Path, levels: Sequence[Level]) -> bytes:
    """The page at /metrics: what all processes counted in `folder`, and the levels given."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]  # the library's constructor
    registry.register(_Levels(levels))
    return generate_latest(registry)
