"""The super-resolution network in torch: cubic before training, the slab as its mean whatever the weights."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is only in the extra `train`; the runtime does without it")

from engines.networks.superres_unet import SuperresUnet  # noqa: E402 - after the skip
from engines.slabs import cubic_weights  # noqa: E402


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
