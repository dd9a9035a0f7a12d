"""Check: the result against its source, before anything leaves. A function of its arguments."""

from pipelines.pipeline import Pipeline, Report
from pipelines.run import check as run_checks
from pipelines.volume import Volume


def check(pipeline: Pipeline, source: Volume, result: Volume) -> Report:
    """Every check of the pipeline; `held` if one failed."""
    return run_checks(pipeline, source, result)


def why_held(report: Report) -> tuple[str, str]:
    """The first check that failed, by name, and the figures of all that did, in one line."""
    if not report.failed:
        return "no_check", "No check was made."
    return report.failed[0].name, " ".join(finding.text for finding in report.failed)
