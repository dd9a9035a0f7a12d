"""A tilted stack is straightened where its pipeline says so, and what the network left alone comes back to the bit."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.ct_denoise import CT_DENOISE
from pipelines.pipeline import Tilt
from pipelines.run import infer
from pipelines.steps.tilt import Shear, tilted_back, upright
from pipelines.volume import Volume
from tests.unit.test_pipeline_run import Arithmetic, nothing

SPACING_MM = (2.5, 0.8, 0.9)
AIR = -1000.0


def body(points: NDArray[np.float64]) -> NDArray[np.float32]:
    """HU of a soft ball and a soft rod, by position (…, 3) in LPS mm: smooth, so that resampling can be judged."""
    x, y, z = np.moveaxis(points, -1, 0)
    ball = np.exp(-((x - 3) ** 2 + (y + 4) ** 2 + (z - 12) ** 2) / (2 * 9.0**2))
    rod = np.exp(-((x + 10) ** 2 + (y - 6) ** 2) / (2 * 5.0**2))
    return (AIR + 1100 * ball + 600 * rod).astype(np.float32)


def scanned(tilt_deg: float, *, shape: tuple[int, int, int] = (10, 64, 56), padding: bool = False) -> Volume:
    """The body as a gantry that leans by an angle about the x axis sees it: the table moves along z all the same."""
    lean = math.radians(tilt_deg)
    affine = np.eye(4)
    affine[:3, 0] = (0, 0, SPACING_MM[0])
    affine[:3, 1] = np.array([0, math.cos(lean), -math.sin(lean)]) * SPACING_MM[1]
    affine[:3, 2] = (SPACING_MM[2], 0, 0)
    affine[:3, 3] = (-25, -25, 0)
    voxels = body(places(affine, shape))
    outside = None
    if padding:
        outside = np.zeros(shape, np.bool_)
        outside[:, :3] = True
    return Volume(voxels=voxels, affine=affine, unit="HU", padding=outside)


def places(affine: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    indices = np.stack(np.meshgrid(*(np.arange(size) for size in shape), indexing="ij"), axis=-1)
    found: NDArray[np.float64] = indices @ affine[:3, :3].T + affine[:3, 3]
    return found


@pytest.mark.parametrize("tilt_deg", [-18.5, 16.5, 30.0])
def test_every_voxel_of_the_upright_volume_shows_what_lies_there(tilt_deg: float) -> None:
    source = scanned(tilt_deg)

    straight = upright(source, fill=AIR)

    assert straight.padding is not None
    step, down, right = (straight.affine[:3, axis] for axis in range(3))
    assert abs(step @ down) < 1e-9
    assert abs(step @ right) < 1e-9
    assert np.linalg.norm(step) == pytest.approx(SPACING_MM[0] * math.cos(math.radians(tilt_deg)))
    error = np.abs(straight.voxels - body(places(straight.affine, straight.voxels.shape)))[~straight.padding]
    assert error.max() < 5.0  # HU, linear interpolation of a body with edges of 9 and 5 mm
    assert (~straight.padding).sum() > 0.95 * source.voxels.size


def test_the_comparison_can_fail() -> None:
    source = scanned(16.5)
    affine = upright(source, fill=AIR).affine

    error = np.abs(source.voxels - body(places(affine, source.voxels.shape)))

    assert error.max() > 100


def test_what_the_network_left_alone_comes_back_to_the_bit() -> None:
    source = scanned(16.5)
    straight = upright(source, fill=AIR)

    back = tilted_back(straight.voxels - straight.voxels, source)

    assert np.array_equal(source.voxels + back, source.voxels)


def test_a_change_comes_back_to_where_it_belongs() -> None:
    source = scanned(-18.5)
    straight = upright(source, fill=AIR)
    change = (body(places(straight.affine, straight.voxels.shape)) - AIR) * np.float32(0.1)

    back = tilted_back(change, source)

    inner = (slice(None), slice(2, -2), slice(2, -2))
    assert np.abs(back - (source.voxels - AIR) * 0.1)[inner].max() < 1.0


def test_padding_is_never_mixed_into_the_picture() -> None:
    source = scanned(16.5, padding=True)
    assert source.padding is not None
    source.voxels[source.padding] = -30000

    straight = upright(source, fill=AIR)

    assert straight.voxels.min() >= AIR - 1
    assert straight.padding is not None
    assert (straight.voxels[straight.padding] == AIR).all()


def test_an_upright_volume_is_left_as_it_is() -> None:
    source = scanned(0.0)

    assert upright(source, fill=AIR) is source
    assert Shear.of(source).is_straight


def test_a_shear_along_both_axes_is_corrected() -> None:
    source = scanned(10.0)
    affine = source.affine.copy()
    affine[:3, 0] += (0.7, 0, 0)
    source = Volume(voxels=body(places(affine, source.voxels.shape)), affine=affine, unit="HU")

    straight = upright(source, fill=AIR)

    assert straight.padding is not None
    error = np.abs(straight.voxels - body(places(straight.affine, straight.voxels.shape)))[~straight.padding]
    assert error.max() < 7.0


CORRECTING = replace(CT_DENOISE, takes=replace(CT_DENOISE.takes, tilt=Tilt.CORRECT, tilt_deg_max=30.0))


def test_a_pipeline_that_corrects_tilt_gives_its_network_an_upright_volume() -> None:
    source, engine = scanned(16.5), Arithmetic(lambda image: image + np.float32(10.0))
    seen = []

    result = infer(CORRECTING, engine, source, progress=lambda done, total: seen.append((done, total)))

    _, rows, columns = upright(source, fill=-1024.0).voxels.shape
    wanted = (-(-rows // 8) * 8, -(-columns // 8) * 8)
    assert {feed.shape[2:] for feed in engine.seen} == {wanted}
    assert result.voxels.shape == source.voxels.shape
    assert np.array_equal(result.affine, source.affine)
    change = (result.voxels - source.voxels)[:, 2:-2, 2:-2]
    assert np.allclose(change, 10.0, atol=1e-3)
    assert seen == [(done, 10) for done in range(1, 11)]


def test_a_network_that_changes_nothing_gives_the_tilted_source_back_to_the_bit() -> None:
    source = scanned(16.5)

    result = infer(CORRECTING, Arithmetic(lambda image: image), source, progress=nothing)

    assert np.array_equal(result.voxels, source.voxels)


def test_shipped_pipelines_take_slices_as_they_are() -> None:
    source, engine = scanned(16.5), Arithmetic(lambda image: image)

    infer(CT_DENOISE, engine, source, progress=nothing)

    assert {feed.shape for feed in engine.seen} == {(1, 1, 64, 56)}
