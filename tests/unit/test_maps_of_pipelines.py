"""What the maps of the shipped pipelines show."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engines.slabs import fourier_consistent, fourier_seen
from node.dicom.maps import MAPS
from pipelines import SHIPPED
from pipelines.mra_superres import MRA_SUPERRES, finishes, map_finishes, map_of
from pipelines.pipeline import Parameters, Tilt
from pipelines.thinner import AVERAGE, FOURIER
from pipelines.volume import Volume

FACTOR = 3


def parameters(consistency: str, **more: Any) -> Parameters:
    values = {"factor": FACTOR, "consistency": consistency, "step": 1.0, "intercept": 0.0}
    return Parameters(values=values, pixel_mm=0.5, **more)


def slabs() -> Volume:
    voxels = np.random.default_rng(4).uniform(450.0, 550.0, (9, 8, 8)).astype(np.float32)
    padding = np.zeros(voxels.shape, bool)
    padding[:, 0] = True
    return Volume(voxels=voxels, affine=np.diag([3.0, 0.5, 0.5, 1.0]), unit="MR", padding=padding)


def thin(source: Volume) -> np.ndarray[Any, np.dtype[np.float32]]:
    drawn = np.random.default_rng(5).normal(0.0, 40.0, (len(source.voxels) * FACTOR, 8, 8))
    return (np.repeat(source.voxels, FACTOR, axis=0) + drawn).astype(np.float32)


def test_every_pipeline_with_a_map_has_a_kind_of_it() -> None:
    mapped = {name: one for name, one in SHIPPED.items() if one.map_of is not None}

    assert {one.gives.kind for one in mapped.values()} <= set(MAPS)
    assert "mr-postcontrast" in mapped
    assert "mra-superres" in mapped
    with pytest.raises(ValueError, match="tilted stack"):
        replace(MRA_SUPERRES, takes=replace(MRA_SUPERRES.takes, tilt=Tilt.CORRECT))


def test_what_was_added_to_a_3d_acquisition_holds_none_of_the_frequencies_that_it_measured() -> None:
    source = slabs()
    result = thin(source)
    middle = replace(parameters(FOURIER), near=np.repeat(source.voxels[:1], 5, axis=0))
    before = map_of({}, result[:FACTOR], middle)
    added = (result - np.repeat(source.voxels, FACTOR, axis=0)).astype(np.float32)
    assert np.array_equal(before, added[:FACTOR])
    stale = added.copy()

    finishes(result, source, parameters(FOURIER))
    map_finishes(added, result, source, parameters(FOURIER))

    assert not added[:, 0].any(), "padding"
    inside = (slice(None), slice(1, None))
    assert np.abs(fourier_seen(added[inside], FACTOR)).max() < 2.0, "but for the rounding to stored values"
    assert np.abs(fourier_seen(stale[inside], FACTOR)).max() > 10.0, "the control: the map before the end"
    whole = fourier_consistent(np.zeros_like(result[inside]), source.voxels[inside], FACTOR) + added[inside]
    assert np.allclose(whole, result[inside], atol=1e-2)


def test_where_means_are_kept_the_map_is_left_as_it_was_made() -> None:
    source, added = slabs(), np.full((27, 8, 8), 3.0, np.float32)

    map_finishes(added, thin(source), source, parameters(AVERAGE))

    assert (added == 3.0).all()
