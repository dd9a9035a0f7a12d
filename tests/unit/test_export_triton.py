"""A model repository is written whole, never changed in silence, and means what Triton's own schema says."""

import threading
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from engines.engine import BadSpec, DigestMismatch, EngineFailed
from engines.export_triton import Device, Exported, export, served_sha256, version_number
from engines.store import load_spec, read_weights
from tests.other_engine import other_engine


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "models"


def configuration(repository: Path, name: str = "ct_denoise") -> Any:
    return text_format.Parse((repository / name / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".export.lock"]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("name", ["ct_denoise", "ct_kernel"])
def test_the_repository_says_what_the_specification_says(repository: Path, name: str) -> None:
    spec = load_spec(name)
    export(spec, repository)

    config = configuration(repository, name)
    assert (config.name, config.platform, config.max_batch_size) == (name, "onnxruntime_onnx", 0)
    assert [(t.name, t.data_type) for t in config.input] == [(t.name, model_config_pb2.TYPE_FP32) for t in spec.inputs]
    assert [list(t.dims) for t in config.input] == [
        [length if isinstance(length, int) else -1 for length in tensor.shape] for tensor in spec.inputs
    ]
    number = int(version_number(spec))
    assert list(config.version_policy.specific.versions) == [number]
    (group,) = config.instance_group
    assert (group.count, group.kind) == (1, group.KIND_CPU)
    assert {key: value.string_value for key, value in config.parameters.items()} == {
        f"sha256_{number}": served_sha256(spec)
    }
    assert (repository / name / str(number) / "model.onnx").read_bytes() == read_weights(spec)


def test_the_same_again_changes_nothing(repository: Path) -> None:
    first = export(load_spec("ct_denoise"), repository)
    before = everything(repository)
    second = export(load_spec("ct_denoise"), repository)

    assert (first.written, second.written) == (True, False)
    assert everything(repository) == before


def test_a_new_version_stands_beside_the_old_one(repository: Path, tmp_path: Path) -> None:
    old = other_engine(tmp_path / "old", version="1.0.0")
    new = other_engine(tmp_path / "new", version="1.10.2", trained_again=True)
    export(old, repository)
    before = everything(repository)
    export(new, repository)

    config = configuration(repository)
    assert list(config.version_policy.specific.versions) == [1_000_000, 1_010_002]
    assert {key: value.string_value for key, value in config.parameters.items()} == {
        "sha256_1000000": old.sha256,
        "sha256_1010002": new.sha256,
    }
    kept = "ct_denoise/1000000/model.onnx"
    assert everything(repository)[kept] == before[kept]


def test_another_network_under_the_same_version_is_refused(repository: Path, tmp_path: Path) -> None:
    export(other_engine(tmp_path / "one", version="1.0.0"), repository)
    before = everything(repository)

    with pytest.raises(DigestMismatch, match=r"1000000 holds another network: .* A version never changes"):
        export(other_engine(tmp_path / "two", trained_again=True, version="1.0.0"), repository)
    assert everything(repository) == before


def test_a_configuration_that_somebody_changed_is_refused(repository: Path) -> None:
    export(load_spec("ct_denoise"), repository)
    path = repository / "ct_denoise" / "config.pbtxt"
    path.write_text(path.read_text().replace("count: 1", "count: 4"))
    before = everything(repository)

    with pytest.raises(BadSpec, match="was changed, or made for another device"):
        export(load_spec("ct_denoise"), repository)
    assert everything(repository) == before


def test_a_gpu_is_asked_for_by_name_and_computes_in_fp32(repository: Path) -> None:
    export(load_spec("ct_denoise"), repository, device=Device.GPU)

    config = configuration(repository)
    (group,) = config.instance_group
    assert group.kind == group.KIND_GPU
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert (accelerator.name, dict(accelerator.parameters)) == ("cuda", {"use_tf32": "0"})
    with pytest.raises(BadSpec, match="another device"):
        export(load_spec("ct_denoise"), repository, device=Device.CPU)


@pytest.mark.parametrize("version", ["0.0.0", "1.0", "1.0.1000", "1.0.0-rc1", "one"])
def test_a_version_that_is_no_number_is_refused(repository: Path, tmp_path: Path, version: str) -> None:
    with pytest.raises(BadSpec, match=r"Triton numbers its versions.*major\.minor\.patch"):
        export(other_engine(tmp_path / "site", version=version), repository)


def test_versions_keep_their_order_as_numbers(tmp_path: Path) -> None:
    versions = ["0.0.1", "0.1.0", "0.10.0", "1.0.0", "1.0.12", "1.2.0", "12.0.0"]
    numbers = [int(version_number(other_engine(tmp_path / text, version=text))) for text in versions]

    assert numbers == sorted(set(numbers))


def test_an_export_that_was_killed_is_finished_by_the_next(repository: Path) -> None:
    aside = repository / ".ct_denoise.part" / "1000000"
    aside.mkdir(parents=True)
    (aside / "model.onnx").write_bytes(b"half of it")
    export(load_spec("ct_denoise"), repository)

    assert sorted(path.name for path in repository.iterdir()) == [".export.lock", "ct_denoise"]
    assert configuration(repository).name == "ct_denoise"


def test_a_version_without_its_entry_gets_it(repository: Path, tmp_path: Path) -> None:
    """Killed between the folder of a second version and the configuration."""
    export(other_engine(tmp_path / "old", version="1.0.0"), repository)
    text = (repository / "ct_denoise" / "config.pbtxt").read_text()
    new = other_engine(tmp_path / "new", version="2.0.0")
    export(new, repository)
    (repository / "ct_denoise" / "config.pbtxt").write_text(text)

    assert export(new, repository).written
    assert list(configuration(repository).version_policy.specific.versions) == [1_000_000, 2_000_000]


def test_exports_at_the_same_time_end_as_one(repository: Path) -> None:
    ended: list[Exported] = []
    threads = [
        threading.Thread(target=lambda name=name: ended.append(export(load_spec(name), repository)))
        for name in ["ct_denoise", "ct_kernel"] * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted((one.engine, one.written) for one in ended) == sorted(
        (name, written) for name in ("ct_denoise", "ct_kernel") for written in (True, False, False)
    )


def test_a_folder_that_cannot_be_written_is_our_error(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")

    with pytest.raises(EngineFailed, match=r"cannot be written: .* Name another folder"):
        export(load_spec("ct_denoise"), tmp_path / "models")
