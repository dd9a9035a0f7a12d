"""A folder of engines of one's own, in which one was changed and sealed again."""

import hashlib
import shutil
from pathlib import Path

from engines.engine import EngineSpec
from engines.store import HERE, load_spec, reseal


def other_engine(
    folder: Path, name: str = "ct_denoise", *, version: str | None = None, trained_again: bool = False
) -> EngineSpec:
    """A copy of a shipped engine.

    version:       default: the shipped one's
    trained_again: other bytes that ONNX Runtime reads as the same graph; a digest is all that tells them apart
    """
    for part, suffix in (("specs", "toml"), ("weights", "onnx"), ("cases", "npz")):
        (folder / part).mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / part / f"{name}.{suffix}", folder / part)
    shipped = load_spec(name)
    weights = folder / "weights" / f"{name}.onnx"
    if trained_again:
        with weights.open("ab") as file:
            file.write(b"\x32\x05again")  # ModelProto.doc_string; the last one of a field counts
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    text = (folder / "specs" / f"{name}.toml").read_text(encoding="utf-8")
    text = text.replace(shipped.sha256, sha256).replace(
        f'version = "{shipped.version}"', f'version = "{version or shipped.version}"'
    )
    (folder / "specs" / f"{name}.toml").write_text(text, encoding="utf-8")
    reseal(folder)
    return load_spec(name, folder)
