"""CPU of writing a derived series: the fast writer next to the slow one of the tests, ms a slice.

python -m tests.bench.derive [SLICES]
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pydicom

from node.dicom import derive
from tests import reference_writer
from tests.dicom_phantom import everything, job, save, slice_of_ct

RUNS = 5


def cpu_ms(what: Callable[[], object], slices: int) -> float:
    """CPU of this process, all threads, for each slice."""
    begun = time.process_time()
    what()
    return (time.process_time() - begun) / slices * 1e3


def request_in(folder: Path, slices: int) -> dict[str, Any]:
    """A series of 512 x 512 with everything in its headers, and its own voxels for a result."""
    sources, values = [], np.empty((slices, 512, 512), np.float32)
    for index in range(slices):
        ds = slice_of_ct(index, rows=512, columns=512)
        everything(ds, index)
        values[index] = np.frombuffer(ds.PixelData, "<u2").reshape(512, 512).astype(np.float32) - 1024
        sources.append(save(ds, folder / "in" / f"{index:05d}.dcm"))
    assert len({pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in sources}) == slices
    np.save(folder / "result.npy", values)
    work = job(z_support=1)
    return {"sources": sources, "result": f"{folder}/result.npy", "out": f"{folder}/out", "job": work}


def main(slices: int) -> None:
    """Print the medians."""
    with tempfile.TemporaryDirectory() as place:
        request = request_in(Path(place), slices)
        derive.write_series(request)  # imports and caches of the interpreter
        fast, ranges = [], []
        for _ in range(RUNS):
            derive._sources.clear()
            derive._series.clear()
            fast.append(cpu_ms(lambda: derive.write_series(request), slices))
            derive._sources.clear()
            derive._series.clear()
            parts = [[first, min(first + 16, slices)] for first in range(0, slices, 16)]
            chunks = lambda: [derive.write_series(request | {"range": part}) for part in parts]  # noqa: B023, E731
            ranges.append(cpu_ms(chunks, slices))
        few = request | {"sources": request["sources"][:20], "result": f"{place}/few.npy"}
        np.save(few["result"], np.load(request["result"], mmap_mode="r")[:20])
        slow = cpu_ms(lambda: reference_writer.write(few), 20)
    print(f"{slices} slices of 512 x 512, CPU a slice, synced: median of {RUNS} runs")
    print(f"  whole series  {median(fast):.2f} ms (from {min(fast):.2f} to {max(fast):.2f})")
    print(f"  ranges of 16  {median(ranges):.2f} ms (from {min(ranges):.2f} to {max(ranges):.2f})")
    print(f"  slow writer   {slow:.2f} ms, nothing written to disk")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 300)
