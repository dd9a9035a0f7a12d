"""Every series from the start, at 0: a rate needs a first value."""

from collections.abc import Iterable, Mapping
from typing import Final

from node.metrics.counted import METRICS, REFUSALS
from node.records.states import STOPS, JobState
from pipelines.triage import Flag

STAGES: Final = ("prepare", "register", "infer", "check", "derive", "deliver")
"""Stages of a job; those before it know no pipeline."""


def prime_receiver(statuses: Iterable[int]) -> None:
    """Show every series of the receiver from the start, at 0: a rate needs a first value."""
    for status in statuses:
        METRICS.stored.labels(status=f"{status:#06x}")
    for reason in REFUSALS:
        METRICS.associations_refused.labels(reason=reason)
    METRICS.stage_seconds.labels(stage="receive", pipeline="")


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
    for stage in ("assemble", "route"):
        METRICS.stage_seconds.labels(stage=stage, pipeline="")
    for name in pipelines:
        METRICS.inference_seconds.labels(pipeline=name)
        for stage in STAGES:
            METRICS.stage_seconds.labels(stage=stage, pipeline=name)
        for state, causes in STOPS.items():
            for cause in causes if state is not JobState.DEAD else ():
                METRICS.holds.labels(state=state.value, reason=cause.value, pipeline=name)


def prime_registrations(roles: Mapping[str, Iterable[str]]) -> None:
    """The same for series that are brought to the grid of another one: their roles by pipeline."""
    for pipeline, role in ((pipeline, role) for pipeline, some in roles.items() for role in some):
        METRICS.registration_quality.labels(pipeline=pipeline, role=role)
        for outcome in ("identity", "header", "moved", "held"):
            METRICS.registrations.labels(pipeline=pipeline, role=role, outcome=outcome)


def prime_triage(scanners: Iterable[str], channels: Iterable[str]) -> None:
    """The same for triage: `scanners` as `node.worklist.scanners.labels` gives them, `channels` by name."""
    for name in scanners:
        METRICS.triage_arrival_to_flag.labels(scanner=name)
        for flag in Flag:
            METRICS.triage_verdicts.labels(scanner=name, flag=flag.value)
    for name in channels:
        METRICS.triage_flag_to_acknowledgement.labels(channel=name)
