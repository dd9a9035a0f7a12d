"""The network in torch: starts as the identity, exports what it computes, and learns from a step."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is only in the extra `train`; the runtime does without it")

from engines.networks.pu_unet import LowPass, NoiseLevel, PuUnet  # noqa: E402 - after the skip
from engines.training.export import to_onnx  # noqa: E402
from engines.training.train import BATCH, PROBES, SIDE, loss_of  # noqa: E402


def test_before_training_the_network_is_the_identity() -> None:
    image = torch.randn(1, 1, 64, 72) * 50

    assert torch.equal(PuUnet()(image), image)


def test_the_noise_level_of_white_noise_is_its_sd() -> None:
    torch.manual_seed(0)

    level = NoiseLevel()(torch.randn(1, 1, 256, 256) * 20)

    assert level[0, 0].mean().item() * 50 == pytest.approx(20.0, rel=0.05)


def test_the_low_pass_keeps_a_constant_and_has_the_width_it_says() -> None:
    spike = torch.zeros(1, 1, 128, 128)
    spike[0, 0, 64, 64] = 1.0
    made = LowPass(6.0)(spike)[0, 0]
    place = torch.arange(128.0)
    middle = (made.sum(0) * place).sum()

    assert torch.allclose(LowPass(6.0)(torch.full((1, 1, 64, 64), 7.0)), torch.full((1, 1, 64, 64), 7.0), atol=1e-4)
    assert (made.sum(0) * (place - middle) ** 2).sum().sqrt().item() == pytest.approx(6.0, rel=0.05)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch: its TorchScript exporter is kept
@pytest.mark.filterwarnings("ignore:Constant folding")
def test_the_exported_file_computes_what_torch_computes(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx", reason="onnx is only in the extra `train`")
    torch.manual_seed(0)
    network = PuUnet()
    torch.nn.init.normal_(network.tail.weight, std=0.05)
    with torch.no_grad():
        image = torch.randn(1, 1, 104, 80) * 40
        expected = network(image).numpy()
    path = tmp_path / "network.onnx"
    to_onnx(network, path)

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    made = session.run(["denoised"], {"hu": image.numpy()})[0]

    assert np.abs(expected - image.numpy()).max() > 1.0
    assert np.abs(made - expected).max() < 0.05


def test_a_step_against_the_gradient_lowers_the_loss() -> None:
    torch.manual_seed(0)
    network = PuUnet()
    clean = torch.zeros(BATCH, 1, SIDE, SIDE)
    noisy = clean + torch.randn_like(clean) * 20
    level = torch.full((BATCH, 1, 1, 1), 20.0)
    probe = torch.zeros(PROBES, 1, SIDE, SIDE)
    probe[:, :, 40:50, 40:50] = 30.0
    optimiser = torch.optim.SGD(network.parameters(), 0.01)

    before = loss_of(network, noisy, clean, level, probe)
    before.backward()
    optimiser.step()

    assert loss_of(network, noisy, clean, level, probe).item() < before.item()
