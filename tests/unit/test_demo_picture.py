"""The picture of a result shows three panels and never changes what it shows to suit the result."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from node.demo.picture import _flat_box, _grey, compare_picture


def slice_with_noise(sd_hu: float) -> np.ndarray:
    """An ellipse of soft tissue with a bright bone, (128, 160), HU."""
    y, x = np.mgrid[-64:64, -80:80]
    image = np.where((x / 70) ** 2 + (y / 50) ** 2 < 1, 60.0, -1000.0)
    image[(x**2 + (y - 30) ** 2) < 64] = 600
    return image + np.random.default_rng(1).normal(0, sd_hu, image.shape)


def test_picture_is_a_png_with_all_panels(tmp_path: Path) -> None:
    noisy, clean = slice_with_noise(20), slice_with_noise(0)

    out = compare_picture(noisy, clean, tmp_path / "new" / "picture.png", window=(40, 400), title="CT denoise")

    with Image.open(out) as picture:
        assert picture.format == "PNG"
        assert picture.width > 1600
        assert picture.height > 800
    assert [path.name for path in out.parent.iterdir()] == ["picture.png"]


def test_slices_of_different_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not the same slice"):
        compare_picture(np.zeros((8, 8)), np.zeros((8, 9)), tmp_path / "no.png", window=(40, 400), title="")


@pytest.mark.parametrize("shape", [(64, 64), (30, 200)])
def test_slice_of_air_still_gives_a_picture(tmp_path: Path, shape: tuple[int, int]) -> None:
    air = np.full(shape, -1000.0)

    assert compare_picture(air, air, tmp_path / "air.png", window=(40, 400), title="Air").is_file()


def test_flat_region_lies_in_even_soft_tissue() -> None:
    box = _flat_box(slice_with_noise(20))

    assert np.all(box.of(slice_with_noise(0)) == 60)


def test_window_ends_are_black_and_white() -> None:
    grey = _grey(np.array([[-160.0, 40.0, 240.0]]), (40, 400))

    assert grey[0, :, 0].tolist() == [0, 128, 255]
