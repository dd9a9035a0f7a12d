"""Guards see the faults that NETWORKS.md E names, and let clean series pass: part of `python -m tests.bench.guards`.

Phantoms made by code always; public scans as they came where ../shared/data is there.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.kernel import Kernel, radial
from engines.ort import OrtEngine
from engines.store import load_spec
from pipelines.ct_denoise import CT_DENOISE
from pipelines.volume import Volume
from tests.bench.guard_faults import ASKED, Network
from tests.bench.guard_series import AS_THEY_CAME, Part, Series, as_it_came, header
from tests.bench.guard_table import Tally
from tests.bench.guards import network, qualify, through

DATA = Path(__file__).parents[2].parent / "shared" / "data"
PIXEL_MM = 0.8


@pytest.fixture(scope="module")
def run() -> Iterator[Network]:
    with OrtEngine(load_spec(CT_DENOISE.engine), threads=2) as engine:
        yield network(engine)


def phantom(level_hu: float, kernel: Kernel, seed: int) -> Series:
    """A trunk with lungs, spine and vessels that change from slice to slice, and noise as a kernel shows it."""
    size, rng = 256, np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size - 0.5
    frequency = radial((size, size), PIXEL_MM, 0)
    slices = []
    for step in range(3):
        grow = 1.0 + 0.02 * step
        image = np.full((size, size), -1000.0)
        image[np.hypot(y / 0.8, x) < 0.44 * grow] = -100.0
        image[np.hypot(y / 0.8, x) < 0.40 * grow] = 50.0
        for side in (-1, 1):
            image[np.hypot((y + 0.1) / 1.3, x - side * 0.2) < 0.1 * grow] = -850.0
        image[np.hypot(y - 0.22, x) < 0.06] = 400.0
        for vessel in range(6):
            image[np.hypot(y - 0.12, x - 0.1 * vessel + 0.25) < 0.012] = 150.0
        noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(size, size))) * np.sqrt(frequency) * kernel(frequency))
        sharp = np.fft.irfft2(np.fft.rfft2(image) * kernel(frequency))
        slices.append(sharp + noise * (level_hu / noise.std()))
    voxels = np.clip(np.stack(slices), -1024.0, 3071.0).astype(np.float32)
    affine = np.diag([PIXEL_MM, PIXEL_MM, 2.0, 1.0])[:, [2, 1, 0, 3]]
    volume = Volume(voxels=voxels, affine=affine, unit="HU")
    headers = tuple(header(volume, index, "CHEST") for index in range(3))
    return Series(
        name=f"phantom {level_hu:g} HU", part=Part.QUALIFY, source="phantom", level_hu=level_hu,
        sharp=float(kernel.boost > 0), volume=volume, headers=headers,
    )  # fmt: skip


def rows_of(series: list[Series], run: Network) -> dict[str, Tally]:
    pairs: list[tuple[Series, NDArray[np.float32]]] = [(one, through(one, run)) for one in series]
    return qualify(pairs, run, CT_DENOISE.checks, groups=(ASKED,))


def test_every_fault_is_seen_on_phantoms_and_no_clean_phantom_alarms(run: Network) -> None:
    soft, sharp = Kernel(cutoff=0.85), Kernel(cutoff=1.5, boost=0.5)
    series = [phantom(12.0, soft, 1), phantom(25.0, soft, 2), phantom(30.0, sharp, 3)]

    rows = rows_of(series, run)

    assert rows["clean"].marked == 0, rows["clean"].by
    assert len(rows) >= 1 + len(ASKED)
    assert {label: tally.missed for label, tally in rows.items() if label != "clean" and tally.missed} == {}


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data, which is not here")
def test_every_fault_is_seen_on_public_scans_as_they_came_and_none_alarms_clean(run: Network) -> None:
    blocks = [block for block in AS_THEY_CAME if block.part is Part.QUALIFY]
    series = [as_it_came(block, block.starts[0], DATA) for block in blocks]

    rows = rows_of(series, run)

    assert rows["clean"].marked == 0, rows["clean"].by
    faults = [tally for label, tally in rows.items() if label != "clean"]
    assert sum(tally.marked for tally in faults) >= 0.95 * sum(tally.total for tally in faults)
