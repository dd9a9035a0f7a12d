"""Where specifications and weights lie, and the proof that the weights are the ones that were validated."""

import hashlib
import tomllib
from pathlib import Path
from typing import Any

from engines.engine import BadSpec, DigestMismatch, EngineMissing, EngineSpec, TensorSpec, ValidationLevel

HERE = Path(__file__).parent


def load_spec(name: str, folder: Path | None = None) -> EngineSpec:
    """Read `specs/<name>.toml`.

    folder: holds specs/ and weights/; default: the engines that ship with the node
    raises: EngineMissing when there is no such file, BadSpec when it cannot be understood
    """
    base = folder or HERE
    if not name.replace("_", "").isalnum():
        raise EngineMissing(f"{name!r} is no engine name.", fix="Engine names are letters, digits and underscores.")
    path = base / "specs" / f"{name}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise EngineMissing(
            f"No specification of engine {name} in {path.parent}: {error.strerror}.",
            fix="Install the engine again or take the pipeline that needs it out of the settings.",
        ) from error
    try:
        return _spec(tomllib.loads(text), base)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise BadSpec(
            f"The specification of engine {name} cannot be understood: {type(error).__name__} {error}.",
            fix="Compare it with the specifications that ship with the node.",
        ) from error


def weights_path(spec: EngineSpec) -> Path:
    """The ONNX file that `spec` names; it need not exist."""
    return spec.folder / "weights" / spec.weights


def read_weights(spec: EngineSpec) -> bytes:
    """The bytes of the network, once their digest is known to be the promised one.

    The bytes are read once and handed on, so that what was hashed is what runs.

    raises: EngineMissing, DigestMismatch
    """
    path = weights_path(spec)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EngineMissing(
            f"The weights of engine {spec.name} {spec.version} cannot be read from {path}: {error.strerror}.",
            fix="Install the engine again.",
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != spec.sha256:
        raise DigestMismatch(
            f"The weights of engine {spec.name} {spec.version} have sha256 {found[:16]}…, not {spec.sha256[:16]}….",
            fix="The file was changed after its validation: install the engine again, and find out who changed it.",
        )
    return data


def _spec(data: dict[str, Any], folder: Path) -> EngineSpec:
    weights = str(data["weights"])
    if Path(weights).name != weights:
        raise ValueError("weights must be a plain file name")
    sha256 = str(data["sha256"])
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise ValueError("sha256 must be 64 lower-case hexadecimal digits")
    return EngineSpec(
        name=str(data["name"]),
        version=str(data["version"]),
        weights=weights,
        sha256=sha256,
        validation_level=ValidationLevel(data["validation_level"]),
        z_support=int(data["z_support"]),
        inputs=tuple(_tensor(item) for item in data["inputs"]),
        outputs=tuple(_tensor(item) for item in data["outputs"]),
        tolerances={str(key): float(value) for key, value in data.get("tolerances", {}).items()},
        folder=folder,
    )


def _tensor(item: dict[str, Any]) -> TensorSpec:
    return TensorSpec(
        name=str(item["name"]),
        shape=tuple(length if isinstance(length, int) else str(length) for length in item["shape"]),
        dtype=str(item["dtype"]),
        unit=str(item["unit"]),
        multiple_of={str(key): int(value) for key, value in item.get("multiple_of", {}).items()},
        longest=int(item.get("longest", 4096)),
    )
