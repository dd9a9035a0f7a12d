"""Acceptance figures of a pipeline's network: what every evaluation shares. Needs the extra `train` and ../shared/data.

    python -m engines.training.evaluation ct-denoise --json > engines/cards/ct_denoise.json

`imaging-node evaluate` runs the same. torch is not needed: the committed file runs in ONNX Runtime.
"""

import argparse
import importlib
import importlib.util
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from engines.engine import EngineSpec
from engines.store import load_spec

DATA = Path(__file__).parents[2].parent / "shared" / "data"
PIPELINES = {
    "ct-denoise": "ct_denoise",
    "ct-kernel": "ct_kernel",
    "mr-postcontrast": "mr_postcontrast",
    "mra-superres": "mra_superres",
    "head-ct-triage": "head_ct_triage",
}
_MODULES = {
    "ct-denoise": "denoise",
    "ct-kernel": "kernel",
    "mr-postcontrast": "contrast",
    "mra-superres": "superres",
    "head-ct-triage": "triage",
}
JUDGED = frozenset({"head-ct-triage"})  # evaluated through their pipeline: gate, guards and score belong to it
_FOLDERS = {
    "ct": ("ct", "dicom"),
    "mr": ("labels", "mr"),
    "mra": ("labels", "mr"),
    "head": ("labels", "ct"),
}  # of the public data, by the first half of the name
_NEEDED = {"scipy": "scipy", "skimage": "scikit-image", "matplotlib": "matplotlib"}

Task = TypeVar("Task")
Row = TypeVar("Row")


class CannotEvaluate(Exception):
    """Something that the evaluation stands on is not here: the fact, then the fix."""

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(f"{message} {fix}")
        self.message = message
        self.fix = fix


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of acceptance: NETWORKS D1 to D4.

    value:       what was measured; low, high: its 95 % interval over n items, None where there is nothing to draw from
    least, most: what is wanted; one of them may be None
    """

    name: str
    value: float
    n: int
    low: float | None = None
    high: float | None = None
    least: float | None = None
    most: float | None = None
    strictly: bool = False

    @property
    def passed(self) -> bool:
        """Whether the value, not its interval, is where it is wanted."""
        if self.strictly and self.value in (self.least, self.most):
            return False
        above = self.least is None or self.value >= self.least
        return above and (self.most is None or self.value <= self.most)

    @property
    def wanted(self) -> str:
        """In words, for example `<= 0.8`."""
        if self.least is not None and self.most is not None:
            return f"{self.least:g} to {self.most:g}"
        sign = "" if self.strictly else "="
        return f">{sign} {self.least:g}" if self.least is not None else f"<{sign} {self.most:g}"

    def as_json(self) -> dict[str, Any]:
        """One entry of the list `acceptance`."""
        short = {
            key: None if value is None else round(value, 4)
            for key, value in (("value", self.value), ("low", self.low), ("high", self.high))
        }
        return {"name": self.name, **short, "n": self.n, "wanted": self.wanted, "passed": self.passed}


def evaluate(
    pipeline: str,
    *,
    data: Path = DATA,
    to: Path | None = None,
    jobs: int | None = None,
    every: int = 1,
    judge: Any = None,
) -> dict[str, Any]:
    """Measure the engine of a pipeline on the held-back items.

    pipeline: one of PIPELINES
    data:     folder with ct/ and dicom/, or labels/ and mr/, as ../shared/data
    to:       folder for the plots; None: no plots
    every:    only every n-th held-back slice of each volume; a first look, not what a card may say
    judge:    of a triage: the whole pipeline, `engines.training.evaluate_triage_cases.Judge`; engines know no pipelines
    returns:  keys engine, acceptance, figures, items
    raises:   CannotEvaluate if the extra `train`, the data or the pipeline is missing
    """
    if pipeline not in PIPELINES:
        raise CannotEvaluate(f"There is no evaluation of {pipeline!a}.", fix=f"Name one of {', '.join(PIPELINES)}.")
    if pipeline in JUDGED and judge is None:
        raise CannotEvaluate(
            f"{pipeline} is judged as a whole, and the network alone is no pipeline.",
            fix=f"Run `imaging-node evaluate {pipeline}`.",
        )
    missing = [name for module, name in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise CannotEvaluate(
            f"The evaluation needs {', '.join(missing)}, and that is not installed.",
            fix="Install the extra `train`: pip install '.[train]'.",
        )
    absent = [part for part in _FOLDERS[pipeline.partition("-")[0]] if not (data / part).is_dir()]
    if absent:
        raise CannotEvaluate(
            f"The folder {data} has no folder {' and no folder '.join(absent)}.",
            fix="Name the folder of the public data with --data.",
        )
    spec = load_spec(PIPELINES[pipeline])
    module = importlib.import_module(f"engines.training.evaluate_{_MODULES[pipeline]}")
    workers = jobs or min(os.cpu_count() or 1, 2)
    more = {"judge": judge} if pipeline in JUDGED else {}
    found: Mapping[str, Any] = module.evaluate(spec, data=data, to=to, jobs=workers, every=every, **more)
    return {"engine": described(spec), **found}


def described(spec: EngineSpec) -> dict[str, str]:
    """What was measured."""
    level = spec.validation_level.value
    return {"name": spec.name, "version": spec.version, "sha256": spec.sha256, "validation_level": level}


def spread(
    work: Callable[[Task], Row],
    tasks: Iterable[Task],
    *,
    jobs: int,
    start: Callable[..., None] | None = None,
    given: Sequence[Any] = (),
) -> Iterator[Row]:
    """Work on tasks in `jobs` processes, in order; `start(*given)` runs once in each of them."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=start, initargs=tuple(given)) as pool:
        yield from pool.map(work, tasks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", choices=list(PIPELINES))
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table of acceptance")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--to", type=Path, help="folder for the plots")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--every", type=int, default=1, help="every n-th slice only, for a first look")
    arguments = parser.parse_args()
    try:
        found = evaluate(
            arguments.pipeline,
            data=arguments.data,
            to=arguments.to,
            jobs=arguments.jobs,
            every=arguments.every,
        )
    except CannotEvaluate as error:
        parser.exit(2, f"{error}\n")
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    for line in found["acceptance"]:
        print(f"{'passed' if line['passed'] else 'MISSED'}  {line['name']}: {line['value']} (wanted {line['wanted']})")


if __name__ == "__main__":
    main()
