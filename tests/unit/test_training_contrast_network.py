"""The contrast network cannot darken, its uncertainty cannot bend its mean, and its measures judge as they say."""

import numpy as np
import pytest

from engines.training.contrast_cases import Case, case
from engines.training.head_labels import DATA

needs_data = pytest.mark.skipif(not (DATA / "labels").is_dir(), reason="needs ../shared/data")


def test_nothing_darkens_and_air_stays_air() -> None:
    torch = pytest.importorskip("torch", reason="torch is only in the extra `train`")
    from engines.networks.contrast_unet import ContrastUnet

    torch.manual_seed(0)
    network = ContrastUnet()
    images = [torch.rand(1, 3, 64, 72) for _ in range(3)]
    images[0][:, :, :10] = 0.0
    with torch.no_grad():
        start, unsure = network(*images, torch.ones(1, 3))
        torch.nn.init.normal_(network.tail.weight, std=5.0)
        wild, _ = network(*images, torch.ones(1, 3))
        network.tail.bias += -1000.0
        torch.nn.init.zeros_(network.tail.weight)
        nothing, _ = network(*images, torch.ones(1, 3))

    middle = images[0][:, 1:2]
    assert torch.allclose(start, middle * 1.0023, atol=1e-4)
    assert torch.allclose(unsure, torch.full_like(unsure, 0.05))
    assert (wild >= middle).all()
    assert (wild[:, :, :10] == 0.0).all()
    assert torch.equal(nothing, middle)


def test_the_likelihood_leaves_the_mean_alone() -> None:
    torch = pytest.importorskip("torch", reason="torch is only in the extra `train`")
    from engines.networks.contrast_unet import ContrastUnet

    torch.manual_seed(0)
    network = ContrastUnet()
    torch.nn.init.normal_(network.unsure[2].weight, std=0.05)
    _, unsure = network(*(torch.rand(1, 3, 64, 64) for _ in range(3)), torch.ones(1, 3))
    unsure.log().sum().backward()

    assert network.unsure[0].first.weight.grad.abs().sum() > 0.0
    assert all(weight.grad is None for name, weight in network.named_parameters() if not name.startswith("unsure"))


def test_the_loss_of_air_alone_has_a_gradient() -> None:
    torch = pytest.importorskip("torch", reason="torch is only in the extra `train`")
    pytest.importorskip("skimage", reason="scikit-image is only in the extra `train`")
    from engines.networks.contrast_unet import ContrastUnet
    from engines.training.contrast import loss_of

    network = ContrastUnet()
    empty = torch.zeros(1, 3, 64, 64)
    post, unsure = network(empty, empty, empty, torch.ones(1, 3))
    loss_of(post, unsure, empty[:, 1:2], torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)).backward()

    assert all(torch.isfinite(w.grad).all() for w in network.parameters() if w.grad is not None)


@pytest.fixture(scope="module")
def shown() -> Case:
    return case(4, 0, spacing_mm=4.0, pixel_mm=1.2, stripped=True, independent=0.0)


@needs_data
def test_the_truth_finds_every_lesion_and_the_input_none(shown: Case) -> None:
    measured = pytest.importorskip(
        "engines.training.contrast_measures", reason="scipy and scikit-image are only in the extra `train`"
    )
    unit = np.float32(np.median(shown.t1[shown.nawm]))
    t1, post = shown.t1 / unit, shown.post / unit
    true = measured.enhancement(post, t1)
    perfect = measured.findings(true, true, shown, 0.3)  # grey matter alone comes near 0.15 in some protocols
    blind = measured.findings(np.zeros_like(true), true, shown, 0.3)

    assert perfect["found"]
    assert all(perfect["found"])
    assert perfect["false_lesions"] == 0
    assert perfect["ours_ml"] == pytest.approx(perfect["true_ml"], rel=0.35)
    assert not any(blind["found"])
    assert blind["ours_ml"] == 0.0
    assert measured.in_region(post, post, shown.enhancing) == pytest.approx(
        {"mae": 0.0, "bias": 0.0, "psnr": 126.0, "ssim": 1.0}, abs=0.1
    )
    assert measured.in_region(t1, post, shown.enhancing)["mae"] > 0.1


@needs_data
def test_a_patch_of_nothing_is_a_false_lesion(shown: Case) -> None:
    measured = pytest.importorskip(
        "engines.training.contrast_measures", reason="scipy and scikit-image are only in the extra `train`"
    )
    true = np.zeros_like(shown.t1)
    z, y, x = np.argwhere(shown.nawm & shown.search)[0]
    made = true.copy()
    made[z, y - 3 : y + 4, x - 3 : x + 4] = 0.5

    assert measured.findings(made, true, shown, 0.3)["false_ml"] > 0.0
    assert measured.findings(made, true, shown, 0.6)["false_ml"] == 0.0


def test_agreement_is_lins() -> None:
    measured = pytest.importorskip(
        "engines.training.contrast_measures", reason="scipy and scikit-image are only in the extra `train`"
    )

    assert measured.concordance([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == pytest.approx(1.0)
    assert measured.concordance([2.0, 3.0, 4.0], [1.0, 2.0, 3.0]) == pytest.approx(4.0 / 3.0 / (4.0 / 3.0 + 1.0))
    assert measured.concordance([3.0, 2.0, 1.0], [1.0, 2.0, 3.0]) == pytest.approx(-1.0)
