"""The evaluation of the triage asks the pipeline as the node runs it, with cases that no training saw."""

from pathlib import Path

import numpy as np
import pytest

from engines.training.evaluate_triage_cases import COUNTS, NORMALS, all_tasks, header
from engines.training.evaluate_triage_lines import Part
from engines.training.evaluation import CannotEvaluate, evaluate
from engines.training.head_labels import HELD_BACK
from engines.training.headct import Kind
from node.commands.judge import TriageJudge
from pipelines.head_ct_triage_limits import LIMITS

HERE = Path(__file__)


def test_the_network_alone_is_no_triage() -> None:
    with pytest.raises(CannotEvaluate, match=r"imaging-node evaluate head-ct-triage"):
        evaluate("head-ct-triage")


def test_enough_cases_judge_and_all_of_heads_that_were_held_back() -> None:
    tasks = all_tasks(HERE)
    normal = [task for task in tasks if task.part is Part.NORMAL]
    abnormal = [task for task in tasks if task.part is Part.ABNORMAL]

    assert len(normal) == NORMALS >= 100
    assert len(abnormal) == sum(COUNTS.values()) >= 200
    assert {task.kind for task in abnormal} == {kind.value for kind in Kind} - {"normal"}
    assert {task.head for task in tasks} == set(HELD_BACK)
    made_from = [(task.head, task.seed) for task in tasks if task.part is not Part.TURNED]
    assert len(set(made_from)) == len(made_from)


def test_the_flag_of_the_judge_starts_at_its_threshold() -> None:
    judge = TriageJudge()

    assert LIMITS.probability(judge.threshold) >= LIMITS.threshold
    assert LIMITS.probability(judge.threshold - 0.01) < LIMITS.threshold
    assert list(judge.percentiles) == sorted(judge.percentiles)


@pytest.mark.parametrize(
    ("change", "said"), [({"Modality": ("MR",)}, "not a CT"), ({"BodyPartExamined": ("KNEE",)}, "another part")]
)
def test_a_series_that_is_none_for_the_triage_is_refused_by_its_header(
    change: dict[str, tuple[str, ...]], said: str
) -> None:
    voxels, affine = np.zeros((20, 8, 8), dtype=np.float32), np.diag([5.0, 0.5, 0.5, 1.0])
    affine[:3, :3] = affine[:3, :3][:, ::-1]

    found = TriageJudge()(None, voxels, affine, {**header(voxels, affine), **change})  # type: ignore[arg-type]

    assert found.by_header
    assert any(said in reason for reason in found.reasons)
    assert found.logit is None


def test_air_has_no_brain_and_that_is_said() -> None:
    voxels = np.full((40, 240, 240), -1000.0, dtype=np.float32)
    affine = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [5.0, 0, 0, 0], [0, 0, 0, 1.0]])

    found = TriageJudge()(None, voxels, affine, header(voxels, affine))  # type: ignore[arg-type]

    assert not found.by_header
    assert found.logit is None
    assert "bone" in found.reasons[0]
