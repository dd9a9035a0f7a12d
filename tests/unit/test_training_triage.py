"""The anomaly network starts as the identity, exports what it computes, and its corruption is what it says."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is only in the extra `train`; the runtime does without it")

from engines.engine import EngineSpec  # noqa: E402 - after the skip
from engines.networks.anomaly_dae import CELL, COLUMNS, PLACES, ROWS, AnomalyDae  # noqa: E402
from engines.spec import parse  # noqa: E402
from engines.training.triage_corrupt import SIGMA_HU, coarse_noise, corrupt, pushed, soft_ellipses  # noqa: E402
from engines.training.triage_export import INPUTS, OUTPUTS, TOLERANCES, spec_of, to_onnx  # noqa: E402
from engines.training.triage_tables import CELLS, WIDEN, Left, tables  # noqa: E402


@pytest.fixture(scope="module")
def network() -> AnomalyDae:
    """Weights and tables that are not zero."""
    torch.manual_seed(0)
    made = AnomalyDae()
    torch.nn.init.normal_(made.tail.weight, std=0.05)
    for table in (made.atlas, made.mean, made.centre):
        table.normal_()
    made.sd.uniform_(1.0, 3.0)
    return made.eval()


def feeds(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.zeros(count, 1, ROWS, COLUMNS)
    mask[:, :, 30:190, 30:160] = 1.0
    slices = torch.randn(count, 3, ROWS, COLUMNS) * 20.0 + 30.0
    return slices * mask, mask, torch.tensor([3, 31, 0, 17][:count])


def test_before_training_the_healthy_slice_is_the_slice() -> None:
    slices, mask, place = feeds(1)
    with torch.no_grad():
        healthy, _, _, _ = AnomalyDae()(slices, mask, place)

    assert torch.equal(healthy, slices[:, 1:2])


def test_nothing_is_made_outside_of_the_brain(network: AnomalyDae) -> None:
    slices, mask, place = feeds(1)
    with torch.no_grad():
        healthy, mean, sd, _ = network(slices, mask, place)

    assert all((made[mask == 0.0] == 0.0).all() for made in (healthy, mean, sd))
    assert (healthy - slices[:, 1:2]).abs().max() > 1.0


def test_tables_are_gathered_by_place(network: AnomalyDae) -> None:
    slices, mask, place = feeds(3)
    with torch.no_grad():
        _, mean, sd, distance = network(slices, mask, place)
        _, _, _, elsewhere = network(slices, mask, torch.tensor([4, 30, 1]))

    for number, at in enumerate(place.tolist()):
        block = mean[number, 0, 20 * CELL : 21 * CELL, 15 * CELL : 16 * CELL].mean()
        near = network.mean[at, 19:22, 14:17]
        assert near.min() <= block <= near.max()
        assert sd[number][mask[number] > 0.0].min() >= network.sd[at].min()
    assert not torch.allclose(distance, elsewhere)


def test_a_slice_without_brain_has_no_distance(network: AnomalyDae) -> None:
    slices, mask, place = feeds(2)
    mask[1] = 0.0
    with torch.no_grad():
        _, _, _, distance = network(slices * mask, mask, place)

    assert distance[0] > 0.1
    assert distance[1] == 0.0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch: its TorchScript exporter is kept
@pytest.mark.filterwarnings("ignore:Constant folding")
def test_the_exported_file_computes_what_torch_computes(tmp_path: Path, network: AnomalyDae) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx", reason="onnx is only in the extra `train`")
    from engines.add import check_operators
    from engines.graph import read
    from engines.spec import fits_graph

    path = tmp_path / "network.onnx"
    sha256 = to_onnx(network, path)
    slices, mask, place = feeds(3)
    with torch.no_grad():
        expected = network(slices, mask, place)

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = dict(zip(INPUTS, (slices.numpy(), mask.numpy(), place.numpy()), strict=True))
    found = session.run(list(OUTPUTS), given)

    for name, one, other in zip(OUTPUTS, found, expected, strict=True):
        assert np.abs(one - other.numpy()).max() < TOLERANCES[name] / 10.0, name
    spec = parsed(sha256, tmp_path)
    graph = read(path.read_bytes())
    check_operators(spec.name, graph)
    fits_graph(spec, graph)
    onnx.checker.check_model(str(path))
    assert path.stat().st_size < 8_000_000


def parsed(sha256: str, folder: Path) -> EngineSpec:
    return parse(spec_of("1.2.3", sha256).encode(), "head_ct_triage", folder)


def test_the_specification_is_the_contract(tmp_path: Path) -> None:
    spec = parsed("0" * 64, tmp_path)

    assert {tensor.name: (tensor.shape, tensor.dtype) for tensor in spec.inputs} == {
        "slices": (("n", 3, ROWS, COLUMNS), "float32"),
        "mask": (("n", 1, ROWS, COLUMNS), "float32"),
        "place": (("n",), "int64"),
    }
    assert [tensor.name for tensor in spec.outputs] == ["healthy", "mean", "sd", "distance"]
    assert spec.z_support == 1
    assert PLACES == 32


def test_coarse_noise_is_coarse_without_a_seam_and_of_the_amount_it_says() -> None:
    torch.manual_seed(0)
    made = torch.cat([coarse_noise(4, (ROWS, COLUMNS)) for _ in range(12)])
    step = (made[:, :, 1:] - made[:, :, :-1]).abs()

    assert abs(float(made.mean())) < 1.0
    assert 0.55 * SIGMA_HU < float(made.std()) < 0.8 * SIGMA_HU
    # Bilinear in cells of at least 9 pixels: two neighbours never differ as two knots may.
    assert float(step.max()) < SIGMA_HU * 8.0 / 9.0
    together = float((made[:, 0] * made[:, 2]).mean() / made.var())
    assert 0.65 < together < 0.95


def test_blobs_are_soft_and_of_many_sizes() -> None:
    torch.manual_seed(0)
    share, _ = soft_ellipses(200, (192, 160))
    areas = (share[:, 1] > 0.5).sum(dim=(1, 2)).float()

    assert float(share.min()) >= 0.0
    assert float(share.max()) <= 1.0
    assert float((areas < 60).float().mean()) > 0.1
    assert float((areas > 1500).float().mean()) > 0.1


def test_pushed_tissue_moves_at_most_eight_pixels_and_not_far_off() -> None:
    torch.manual_seed(0)
    share, centre = soft_ellipses(50, (192, 160))
    size = pushed(share, centre).norm(dim=-1)

    assert 4.0 < float(size.max()) <= 8.01
    assert float(size.min()) < 0.05


def test_corruption_stays_in_the_brain_and_tells_where_it_was() -> None:
    torch.manual_seed(0)
    mask = torch.zeros(16, 3, 96, 96)
    mask[:, :, 20:80, 20:80] = 1.0
    slices = 32.0 * mask
    made = corrupt(slices, mask)
    changed = (made.slices[:, 1:2] - slices[:, 1:2]).abs()

    assert (made.slices[mask == 0.0] == 0.0).all()
    assert (made.touched[mask[:, 1:2] == 0.0] == 0.0).all()
    assert float(changed[made.touched > 0.9].mean()) > float(changed[made.touched < 0.05].mean())
    assert made.touched.amax(dim=(1, 2, 3)).gt(0.5).sum() >= 4


def left_behind(group: str, offset: float, rng: np.random.Generator) -> Left:
    """A normal stack whose residual is `offset` everywhere and 1 HU of noise; features of three channels."""
    count = np.full(CELLS, float(CELL**2) * 2.0)
    noise = rng.normal(0.0, 1.0, CELLS)
    first = (offset + 0.1 * noise) * count
    return Left(
        group=group,
        sums=np.stack([first, (offset**2 + 1.0) * count, count]),
        features=rng.normal([5.0, 0.0, -1.0], 1.0, (PLACES, 3)).astype(np.float32),
        there=np.arange(PLACES) > 3,
    )


def test_tables_are_those_that_a_new_head_meets() -> None:
    """Heads that agree leave a narrow SD; heads that do not, one as wide as they differ."""
    rng = np.random.default_rng(0)
    middle = (slice(8, 24), slice(14, 42), slice(12, 36))

    def of(offsets: tuple[float, ...]) -> list[Left]:
        return [left_behind(f"head-{k + 1}", offset, rng) for k, offset in enumerate(offsets) for _ in range(5)]

    agree, differ = of((0.0, 0.0, 0.0, 0.0)), of((1.0, 1.0, 1.0, -3.0))
    narrow, wide = tables(agree), tables(differ)
    others = tables(differ, without="head-4")

    assert narrow.sd[middle].mean() / WIDEN == pytest.approx(1.0, abs=0.25)
    assert wide.sd[middle].mean() / WIDEN > 3.0
    assert wide.mean[middle].mean() == pytest.approx(-1.0, abs=0.3)  # head 04 is half of it
    assert others.mean[middle].mean() == pytest.approx(1.0, abs=0.3)
    np.testing.assert_array_equal(others.sd, wide.sd)


def test_normal_features_are_about_one_away() -> None:
    rng = np.random.default_rng(0)
    left = [left_behind(f"head-{1 + k % 4}", 0.0, rng) for k in range(40)]
    made = tables(left)
    off = np.concatenate([(one.features - made.centre)[one.there] for one in left])
    distance = np.sqrt(np.mean((off @ made.white) ** 2, axis=1))
    far = np.sqrt(np.mean((([5.0, 0.0, 9.0] - made.centre[10]) @ made.white) ** 2))

    assert distance.mean() == pytest.approx(1.0, abs=0.2)
    assert far > 3.0
