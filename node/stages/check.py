"""Check: the result against its source, before anything leaves. A function of its arguments."""

from pipelines.pipeline import Pipeline, Report
from pipelines.run import check as run_checks
from pipelines.volume import Volume


def check(pipeline: Pipeline, source: Volume, result: Volume) -> Report:
    """Every check of the pipeline; `held` if one failed."""
    return run_checks(pipeline, source, result)


def why_held(report: Report) -> str:
    """The figures that failed, in one line."""
    return "; ".join(finding.text for finding in report.failed) or "no check was made"
