"""What processes count up themselves, in files that they share: what was counted outlives a process that is killed."""

from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from pipelines.report import Report, Verdict
from pipelines.triage import Flag

PREFIX: Final = "imaging_node_"
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
    destination_up: Gauge
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
    associations=Counter(PREFIX + "associations", "Associations accepted"),
    associations_refused=Counter(PREFIX + "associations_refused", "Associations rejected", ["reason"]),
    stored=Counter(PREFIX + "instances_received", "C-STORE requests answered", ["status"]),
    received_bytes=Counter(PREFIX + "received_bytes", "Data set bytes of instances answered with success"),
    stage_seconds=Histogram(
        PREFIX + "stage_seconds", "Seconds a stage took", ["stage", "pipeline"], buckets=_STAGE_BUCKETS
    ),
    inference_seconds=Histogram(
        PREFIX + "inference_seconds", "Seconds inside the engine for one set", ["pipeline"], buckets=_STAGE_BUCKETS
    ),
    instances_delivered=Counter(PREFIX + "instances_delivered", "Derived instances confirmed", ["destination"]),
    instances_failed=Counter(PREFIX + "instances_failed", "Derived instances answered with a failure", ["destination"]),
    delivery_failures=Counter(
        PREFIX + "delivery_attempts_failed", "Delivery attempts that did not finish", ["destination"]
    ),
    destination_up=Gauge(
        PREFIX + "destination_up",
        "1 if the destination answered when it was called last, else 0",
        ["destination"],
        multiprocess_mode="mostrecent",
    ),
    commitments=Counter(
        PREFIX + "commitments",
        "Questions to archives whether they keep what they took, and answers",
        ["destination", "outcome"],
    ),
    holds=Counter(PREFIX + "holds", "Jobs held, refused, failed or paused", ["state", "reason", "pipeline"]),
    engine_checks_failed=Counter(
        PREFIX + "engine_checks_failed", "Engines that missed their recorded cases and are off", ["engine"]
    ),
    engine_waits=Counter(PREFIX + "engine_waits", "Times that a job began to wait for an engine's server", ["engine"]),
    eager_slices=Counter(
        PREFIX + "eager_slices", "Slices made before their series was complete, and those that it took", ["what"]
    ),
    registrations=Counter(
        PREFIX + "registrations", "Series brought to the grid of another one, and how", ["pipeline", "role", "outcome"]
    ),
    registration_quality=Histogram(
        PREFIX + "registration_quality",
        "Agreement of edges of a series and the one whose grid it was brought to; 0 is chance, 1 is perfect",
        ["pipeline", "role"],
        buckets=_AGREEMENT_BUCKETS,
    ),
    guard_verdicts=Counter(PREFIX + "guard_verdicts", "Verdicts of the checks", ["pipeline", "guard", "verdict"]),
    guard_value=Histogram(
        PREFIX + "guard_value",
        "What the checks measured, without its sign",
        ["pipeline", "guard"],
        buckets=_VALUE_BUCKETS,
    ),
    last_in_to_first_out=Histogram(
        PREFIX + "last_in_to_first_out_seconds", "Last slice in to first derived slice confirmed", buckets=_WAIT_BUCKETS
    ),
    instances_purged=Counter(PREFIX + "instances_purged", "Received files removed because they were kept long enough"),
    purged_bytes=Counter(PREFIX + "purged_bytes", "Their bytes"),
    starts=Counter(
        PREFIX + "process_starts", "Starts of the node's processes; more than one each says that some died", ["part"]
    ),
    triage_arrival_to_flag=Histogram(
        PREFIX + "triage_arrival_to_flag_seconds",
        "Last slice in to the verdict on record",
        ["scanner"],
        buckets=_FLAG_BUCKETS,
    ),
    triage_flag_to_acknowledgement=Histogram(
        PREFIX + "triage_flag_to_acknowledgement_seconds",
        "Verdict on record to its acknowledgement by the receiver of a channel",
        ["channel"],
        buckets=_FLAG_BUCKETS,
    ),
    triage_verdicts=Counter(PREFIX + "triage_verdicts", "Verdicts of triage", ["scanner", "flag"]),
    triage_withdrawals=Counter(PREFIX + "triage_withdrawals", "Verdicts of triage that were withdrawn"),
    certificate_expires=Gauge(
        PREFIX + "certificate_expires_timestamp_seconds",
        "When the node's own certificate ends, seconds since the epoch",
        ["use"],
        multiprocess_mode="mostrecent",
    ),
)


def count_triage(scanner: str, flag: Flag, seconds: float) -> None:
    """Count a verdict. `seconds`: from the last slice in to the verdict on record; a clock set back gives 0."""
    METRICS.triage_verdicts.labels(scanner=scanner, flag=flag.value).inc()
    METRICS.triage_arrival_to_flag.labels(scanner=scanner).observe(max(seconds, 0.0))


def count_verdicts(report: Report) -> None:
    """Count what the checks of one result found. Their names are a closed set: those that the code gives them."""
    for one in report.findings:
        for verdict in Verdict:  # all at once: the first reject of a guard that passed is one more, not a first value
            METRICS.guard_verdicts.labels(pipeline=report.pipeline, guard=one.name, verdict=verdict.value)
        METRICS.holds.labels(state="held", reason=one.name, pipeline=report.pipeline)
        METRICS.guard_verdicts.labels(pipeline=report.pipeline, guard=one.name, verdict=one.verdict.value).inc()
        if one.value is not None:
            METRICS.guard_value.labels(pipeline=report.pipeline, guard=one.name).observe(abs(one.value))
