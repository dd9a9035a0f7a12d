"""Check: the result against its source, before anything leaves. A function of its arguments."""

from collections.abc import Mapping, Sequence
from typing import Any

from engines.engine import Engine
from pipelines.pipeline import Pipeline, Report
from pipelines.run import check as run_checks
from pipelines.volume import Volume


def check(
    pipeline: Pipeline,
    engine: Engine,
    source: Volume,
    result: Volume,
    *,
    headers: Sequence[Mapping[str, tuple[str, ...]]],
    parameters: Mapping[str, Any],
) -> Report:
    """Every check of the pipeline; `held` if one rejects.

    headers: of the source slices, in geometric order
    raises:  EngineError if the engine failed on a changed slice
    """
    return run_checks(pipeline, engine, source, result, headers, parameters)


def why_held(report: Report) -> tuple[str, str]:
    """The first check that failed, by name, and the figures of all that did, in one line."""
    if not report.failed:
        return "no_check", "No check was made."
    return report.failed[0].name, " ".join(finding.text for finding in report.failed)
