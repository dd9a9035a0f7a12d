"""python -m tests.bench.triage: seconds of every part of head-ct-triage, for 40 and for 300 slices of 512x512.

The head is made from the template that ships; nothing is needed from outside. Writes one JSON object.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from engines.head import align, brain_mask, to_grid
from engines.ort import OrtEngine
from engines.store import load_spec
from pipelines.head_ct_triage import HEAD_CT_TRIAGE
from pipelines.head_ct_triage_figures import figures
from pipelines.head_ct_triage_limits import LIMITS as SCORE
from pipelines.head_ct_triage_look import judged, look
from pipelines.head_ct_triage_maps import maps, where
from pipelines.steps.guards_triage import gain_of, rise_of
from pipelines.volume import Volume
from tests.painted_head import scan

SCANS = {40: (4.5, 0.48), 300: (0.6, 0.48)}
"""Slices -> mm from one to the next, and of a pixel."""


def measured(slices: int, threads: int) -> dict[str, Any]:
    """Seconds by part, and what else was used."""
    step, pixel = SCANS[slices]
    made = scan(slice_mm=step, pixel_mm=pixel, side=512, slices=slices, noise_hu=4.0)
    volume = Volume(voxels=made.voxels, affine=made.affine, unit="HU")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5): the peak counts from here
    seconds: dict[str, float] = {}
    worked: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began, busy = time.perf_counter(), time.process_time()
        result = work()
        seconds[name] = round(time.perf_counter() - began, 2)
        worked[name] = round(time.process_time() - busy, 2)
        return result

    shape = volume.voxels.shape
    with OrtEngine(load_spec(HEAD_CT_TRIAGE.engine), threads=threads) as engine:
        mask = timed("mask", lambda: brain_mask(volume.voxels, made.spacing_mm))
        pose = timed("align", lambda: align(volume.voxels, volume.affine, mask))
        stack = timed("grid", lambda: to_grid(volume.voxels, pose, mask))
        timed("figures", lambda: figures(volume, mask, pose, stack))
        seen = timed("network", lambda: look(engine, stack, SCORE, lambda done, total: None))
        timed("features", lambda: judged(stack, seen.answers, SCORE))
        timed("probe", lambda: rise_of(engine, stack, seen, SCORE))
        timed("stability", lambda: gain_of(engine, stack, seen))
        timed("where", lambda: where(seen, pose, (shape[0], shape[1], shape[2])))
        timed("maps", lambda: maps(seen, stack, pose, volume))
    return {
        "slices": slices,
        "shape": list(shape),
        "grid_slices": int(np.count_nonzero(stack.mask.any(axis=(1, 2)))),
        "seconds": seconds,
        "processor_seconds": worked,
        "before_the_network_s": round(sum(seconds[name] for name in ("mask", "align", "grid")), 2),
        "all_s": round(sum(seconds.values()), 2),
        "voxels_mib": volume.voxels.nbytes >> 20,
        "peak_mib": _peak_mib(),  # with the voxels, the mask and the maps
    }


def _peak_mib() -> int:
    """Of resident memory since it was last set back. Linux."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) >> 10


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.triage", description=__doc__)
    parser.add_argument("--slices", type=int, nargs="+", choices=sorted(SCANS), default=sorted(SCANS))
    parser.add_argument("--threads", type=int, default=2, help="of the engine (default 2)")
    given = parser.parse_args()
    found = [measured(slices, given.threads) for slices in given.slices]
    sys.stdout.write(json.dumps({"bench": "triage", "threads": given.threads, "scans": found}) + "\n")


if __name__ == "__main__":
    main()
