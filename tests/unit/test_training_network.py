"""The network in torch: starts as the identity, exports what it computes, and learns from a step."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is only in the extra `train`; the runtime does without it")

from engines.networks.kernel_unet import KernelUnet  # noqa: E402 - after the skip
from engines.networks.parts import LowPass, NoiseLevel  # noqa: E402
from engines.networks.pu_unet import PuUnet, Shape  # noqa: E402
from engines.training.denoise import BATCH, PROBES, SIDE, loss_of  # noqa: E402
from engines.training.export import PRODUCTS, between, to_onnx  # noqa: E402
from engines.training.loop import train, widen  # noqa: E402


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


def test_before_training_the_kernel_network_is_the_linear_filter() -> None:
    image, linear = torch.randn(2, 1, 64, 72) * 50, torch.randn(2, 1, 64, 72) * 50

    assert torch.equal(KernelUnet()(image, linear, torch.rand(2, 14)), linear)


def test_a_widened_network_computes_what_the_narrow_one_did() -> None:
    torch.manual_seed(0)
    narrow = PuUnet(Shape(widths=(8, 12, 16)))
    torch.nn.init.normal_(narrow.tail.weight, std=0.05)
    wide = PuUnet(Shape(widths=(12, 16, 24)))
    widen(wide, narrow.state_dict())
    image = torch.randn(1, 1, 64, 72) * 50

    assert torch.allclose(wide(image), narrow(image), atol=1e-3)


def test_between_two_checkpoints_lies_their_average(tmp_path: Path) -> None:
    product = PRODUCTS["denoise"]
    networks = [product.network() for _ in range(2)]
    for number, network in enumerate(networks):
        torch.save({"ema": network.state_dict()}, tmp_path / f"{number}.pt")

    made = between(product, tmp_path / "0.pt", tmp_path / "1.pt", 0.25)

    expected = 0.75 * networks[0].head.weight + 0.25 * networks[1].head.weight
    assert torch.allclose(made.head.weight, expected)


class _Line:
    """A task so small that a minute's worth of training is a moment: learn y = 3 x."""

    def __init__(self) -> None:
        self.refreshed: list[int] = []

    def network(self) -> torch.nn.Module:
        return torch.nn.Linear(1, 1)

    def loss(self, network: torch.nn.Module) -> torch.Tensor:
        x = torch.randn(8, 1)
        return ((network(x) - 3 * x) ** 2).mean()

    def score(self, network: torch.nn.Module) -> dict[str, float]:
        return {"total": float((network.weight - 3).abs())}

    def refresh(self, seed: int) -> None:
        self.refreshed.append(seed)


def test_a_run_that_was_stopped_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    train(_Line(), tmp_path, 0.02)
    first = torch.load(tmp_path / "last.pt", weights_only=True)
    again = _Line()
    train(again, tmp_path, 0.04)
    second = torch.load(tmp_path / "last.pt", weights_only=True)

    assert again.refreshed[0] == first["step"]
    assert second["step"] > first["step"]
    assert second["best"] <= first["best"]
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch: its TorchScript exporter is kept
@pytest.mark.filterwarnings("ignore:Constant folding")
@pytest.mark.parametrize("task", sorted(PRODUCTS))
def test_the_exported_file_computes_what_torch_computes(tmp_path: Path, task: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx", reason="onnx is only in the extra `train`")
    torch.manual_seed(0)
    product = PRODUCTS[task]
    network = product.network()
    torch.nn.init.normal_(network.tail.weight, std=0.05)
    scale = 40.0 if product.unit == "HU" else 1.0
    feeds = {name: torch.randn(2, channels, 104, 80) * scale for name, channels in product.images.items()}
    feeds |= {name: torch.rand(2, length) for name, length in product.told.items()}
    with torch.no_grad():
        made = network(*feeds.values())
    expected = (made,) if isinstance(made, torch.Tensor) else made
    path = tmp_path / "network.onnx"
    to_onnx(product, network, path)

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(list(product.outputs), {name: feed.numpy() for name, feed in feeds.items()})

    last = feeds[list(product.images)[-1]].numpy()
    assert np.abs(expected[0].numpy() - last[:, :1]).max() > scale / 40.0
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other.numpy()).max() < product.within / 10.0


def test_a_step_against_the_gradient_lowers_the_loss() -> None:
    torch.manual_seed(0)
    network = PuUnet()
    clean = torch.zeros(BATCH, 1, SIDE, SIDE)
    noisy = clean + torch.randn_like(clean) * 20
    level = torch.full((BATCH, 1, 1, 1), 20.0)
    probe = torch.zeros(PROBES, 1, SIDE, SIDE)
    probe[:, :, 40:50, 40:50] = 30.0
    optimiser = torch.optim.SGD(network.parameters(), 1e-4)

    before = loss_of(network, noisy, clean, level, probe)
    before.backward()
    optimiser.step()

    assert loss_of(network, noisy, clean, level, probe).item() < before.item()
