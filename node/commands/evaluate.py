"""`imaging-node evaluate`: the acceptance figures of a pipeline's network, on public slices that training never saw."""

from pathlib import Path
from typing import Any

from engines.engine import EngineError
from engines.training.evaluation import DATA, JUDGED, CannotEvaluate
from engines.training.evaluation import evaluate as run_evaluation
from node.commands.judge import TriageJudge
from node.errors import BadSetting


def evaluate(pipeline: str, *, data: Path | None, to: Path | None) -> dict[str, Any]:
    """Measure; minutes on two cores.

    data:    folder of the public data; None: ../shared/data beside the repository
    to:      folder for the plots; None: no plots
    returns: keys engine, acceptance, figures, items
    raises:  BadSetting when the extra `train`, the data, the pipeline or its engine is missing
    """
    try:
        judge = TriageJudge() if pipeline in JUDGED else None
        return run_evaluation(pipeline, data=data or DATA, to=to, judge=judge)
    except CannotEvaluate as error:
        raise BadSetting(error.message, fix=error.fix) from error
    except EngineError as error:
        raise BadSetting(error.message, fix=error.fix) from error
