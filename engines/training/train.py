"""Train a network.

    python -m engines.training.cache CACHE && python -m engines.training.train denoise CACHE --to RUN --minutes 40
    python -m engines.training.kernel_pairs PAIRS && python -m engines.training.train kernel PAIRS --to RUN --minutes 40
    python -m engines.training.contrast_pairs SLABS && python -m engines.training.train contrast SLABS --to RUN
    python -m engines.training.tof_blocks PIECES && python -m engines.training.train superres PIECES --to RUN
    python -m engines.training.triage_stacks STACKS && python -m engines.training.train anomaly STACKS --to RUN

A run may be stopped at any moment and started again with the same arguments: it goes on from the last checkpoint,
which is written once a minute. `best.pt` is the checkpoint with the best score on the slices kept for choosing.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from engines.training.contrast import Contrast
from engines.training.denoise import Denoise
from engines.training.kernel import Convert
from engines.training.loop import RATE, Task, train
from engines.training.tof import Superres
from engines.training.triage import Anomaly

TASKS: dict[str, Callable[[Path, int], Task]] = {
    "anomaly": Anomaly,
    "contrast": Contrast,
    "denoise": Denoise,
    "kernel": Convert,
    "superres": Superres,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=sorted(TASKS))
    parser.add_argument("cache", type=Path, help="what engines.training.cache or kernel_pairs wrote")
    parser.add_argument("--to", type=Path, required=True, help="folder for checkpoints and the log")
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="checkpoint of a network, as wide or narrower, to begin with")
    parser.add_argument("--rate", type=float, default=RATE, help="learning rate at its highest")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    task: Task = TASKS[arguments.task](arguments.cache, arguments.seed)
    train(task, arguments.to, arguments.minutes, start=arguments.start, rate=arguments.rate)


if __name__ == "__main__":
    main()
