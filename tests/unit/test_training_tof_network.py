"""The super-resolution network in torch: cubic before training, the slab as its mean whatever the weights."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is only in the extra `train`; the runtime does without it")

from engines.networks.superres_unet import SuperresUnet  # noqa: E402 - after the skip
from engines.slabs import cubic_weights  # noqa: E402
from engines.training.tof import SIDE, SLABS, feeds, loss_of, retoned, stack  # noqa: E402
from engines.training.tof_blocks import Block  # noqa: E402


def test_before_training_it_is_cubic_interpolation_with_the_slab_as_its_mean() -> None:
    slices = torch.rand(2, 5, 16, 24)

    with torch.no_grad():
        made = SuperresUnet()(slices).numpy()

    cubic = np.einsum("ks,nsyx->nkyx", cubic_weights(), slices.numpy())
    assert made.shape == (2, 8, 16, 24)
    assert made == pytest.approx(cubic + slices.numpy()[:, 2:3] - cubic.mean(axis=1, keepdims=True), abs=1e-5)


def test_whatever_the_weights_the_mean_is_the_slab() -> None:
    torch.manual_seed(0)
    network = SuperresUnet(widths=(8, 12, 16))
    torch.nn.init.normal_(network.tail.weight, std=0.3)
    slices = torch.rand(2, 5, 16, 24)

    with torch.no_grad():
        made = network(slices)

    assert made.std(dim=1).mean() > 0.05  # the weights do something
    assert torch.allclose(made.mean(dim=1), slices[:, 2], atol=1e-5)


def _block() -> Block:
    rng = np.random.default_rng(0)
    signal = rng.uniform(0.2, 0.4, (180, 104, 104))
    arteries = np.zeros(signal.shape)
    arteries[:, 50:54, 40:44] = 1.0
    signal[arteries > 0] = 1.0
    return Block(
        group="b",
        signal=signal.astype(np.float16),
        arteries=(255 * arteries).astype(np.uint8),
        pixel_mm=0.5,
    )


def test_a_stack_is_slabs_with_their_thin_truth_whatever_the_spacing() -> None:
    rng = np.random.default_rng(0)
    for _ in range(8):
        one = stack(rng, _block())

        assert one.thick.shape == (SLABS + 4, SIDE, SIDE)
        assert one.thin.shape == one.arteries.shape == (8 * SLABS, SIDE, SIDE)
        assert feeds(one.thick).shape == (SLABS, 5, SIDE, SIDE)
        off = np.abs(one.thin.reshape(SLABS, 8, SIDE, SIDE).mean(axis=1) - one.thick[2:-2])
        assert np.median(off) < 0.15  # the same place: noise and profile apart


def test_other_contrasts_keep_the_order_of_brightness() -> None:
    ramp = np.broadcast_to(np.linspace(0.0, 1.2, 40, dtype=np.float32)[:, None, None], (40, 8, 8))
    rises = [np.diff(retoned(np.random.default_rng(k), ramp).mean(axis=(1, 2))).mean() for k in range(10)]

    assert min(rises) > 0.0


def test_the_loss_is_nothing_for_the_truth_and_three_times_as_high_on_arteries() -> None:
    truth, none = torch.rand(32, 24, 24), torch.zeros(32, 24, 24)
    made = truth.clone()
    made[10:12, 8:12, 8:12] += 0.2
    rng = np.random.default_rng(0)

    assert loss_of(truth, truth, none, 4.0, 0.5, rng).item() == 0.0
    plain = loss_of(made, truth, none, 4.0, 40.0, np.random.default_rng(0)).item()
    heavy = loss_of(made, truth, none + 1.0, 4.0, 40.0, np.random.default_rng(0)).item()
    assert 2.5 < heavy / plain <= 3.0
