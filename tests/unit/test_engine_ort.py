"""The ONNX Runtime engine: shapes are checked first, results belong to the caller, repeats are equal to the bit."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.engine import EngineFailed, ShapeOutsideProfile
from engines.ort import OrtEngine
from engines.store import load_spec


@pytest.fixture(scope="module")
def engine() -> Iterator[OrtEngine]:
    with OrtEngine(load_spec("ct_denoise"), threads=2) as loaded:
        yield loaded


def noise(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(40.0, 25.0, shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (1, 1, 104, 512), (2, 1, 72, 80), (1, 1, 1024, 64)])
def test_every_size_inside_the_profile_comes_back_in_the_same_size(engine: OrtEngine, shape: tuple[int, ...]) -> None:
    made = engine.infer({"hu": noise(*shape)})["denoised"]

    assert made.shape == shape
    assert made.dtype == np.float32
    assert np.all(np.isfinite(made))


@pytest.mark.parametrize(
    "feed",
    [
        noise(1, 1, 63, 64),
        noise(1, 1, 64, 1032),
        noise(1, 2, 64, 64),
        noise(64, 64),
        noise(0, 1, 64, 64),
        noise(1, 1, 64, 64).astype(np.float64),
    ],
)
def test_a_feed_outside_the_profile_is_refused_with_both_shapes(engine: OrtEngine, feed: NDArray[np.float32]) -> None:
    with pytest.raises(ShapeOutsideProfile, match=r"takes float32 \['n', 1, 'y', 'x'\].*was given"):
        engine.infer({"hu": feed})


def test_a_feed_of_another_name_is_refused(engine: OrtEngine) -> None:
    with pytest.raises(ShapeOutsideProfile, match=r"takes \['hu'\], was given \['image'\]"):
        engine.infer({"image": noise(1, 1, 64, 64)})


def test_a_repeat_is_equal_to_the_bit(engine: OrtEngine) -> None:
    image = noise(1, 1, 128, 128)

    assert np.array_equal(engine.infer({"hu": image})["denoised"], engine.infer({"hu": image})["denoised"])


def test_one_thread_and_two_agree_within_the_tolerance(engine: OrtEngine) -> None:
    image = noise(1, 1, 128, 128)
    with OrtEngine(engine.spec, threads=1) as single:
        other = single.infer({"hu": image})["denoised"]

    assert np.max(np.abs(other - engine.infer({"hu": image})["denoised"])) <= engine.spec.tolerances["denoised"]


def test_a_later_call_never_overwrites_an_earlier_result(engine: OrtEngine) -> None:
    first = engine.infer({"hu": noise(1, 1, 64, 64)})["denoised"]
    kept = first.copy()
    engine.infer({"hu": noise(1, 1, 64, 64) + 500.0})

    assert np.array_equal(first, kept)


def test_the_regional_mean_does_not_depend_on_the_weights(engine: OrtEngine) -> None:
    """The output stage gives low frequencies back: D1's lock, in the graph."""
    image = noise(1, 1, 256, 256)
    change = (engine.infer({"hu": image})["denoised"] - image)[0, 0]

    blocks = change.reshape(4, 64, 4, 64).mean(axis=(1, 3))
    assert np.max(np.abs(blocks)) < 0.5


def test_an_engine_outside_its_block_says_so() -> None:
    with pytest.raises(EngineFailed, match="is not loaded"):
        OrtEngine(load_spec("ct_denoise"), threads=1).infer({"hu": noise(1, 1, 64, 64)})


def test_threads_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="threads must be at least 1"):
        OrtEngine(load_spec("ct_denoise"), threads=0)
