"""Turn a checkpoint with its tables into the ONNX file and the specification of head_ct_triage.

    python -m engines.training.triage_export RUN/filled.pt --version 1.0.0

Record the cases anew afterwards (`imaging-node engines record head_ct_triage`): their answers belong to the weights.
"""

import argparse
import hashlib
from pathlib import Path

import torch

from engines.networks.anomaly_dae import COLUMNS, ROWS, AnomalyDae
from engines.store import reseal
from engines.training.export import ENGINES, HEAD, OPSET

NAME = "head_ct_triage"
INPUTS, OUTPUTS = ("slices", "mask", "place"), ("healthy", "mean", "sd", "distance")
TOLERANCES = {"healthy": 0.5, "mean": 0.05, "sd": 0.05, "distance": 0.05}
LARGEST = 8_000_000  # bytes
SPEC = f"""
[[inputs]]
name = "slices"
shape = ["n", 3, {ROWS}, {COLUMNS}]
dtype = "float32"
unit = "HU"

[[inputs]]
name = "mask"
shape = ["n", 1, {ROWS}, {COLUMNS}]
dtype = "float32"
unit = "1"

[[inputs]]
name = "place"
shape = ["n"]
dtype = "int64"
unit = "1"
"""
IMAGE = """
[[outputs]]
name = "{tensor}"
shape = ["n", 1, {rows}, {columns}]
dtype = "float32"
unit = "HU"
"""
REST = """
[[outputs]]
name = "distance"
shape = ["n"]
dtype = "float32"
unit = "1"

# Lengths that may be asked for: smallest, usual, largest.
[profile]
n = [1, 1, 4]

# Largest difference between two backends on the same slice, HU; distance: 1.
[tolerances]
"""


def spec_of(version: str, sha256: str) -> str:
    """The text of the .toml."""
    text = HEAD.format(what="Head-CT anomaly", name=NAME, version=version, sha256=sha256, z_support=1) + SPEC
    text += "".join(IMAGE.format(tensor=tensor, rows=ROWS, columns=COLUMNS) for tensor in OUTPUTS[:3]) + REST
    return text + "".join(f"{name} = {value:g}\n" for name, value in TOLERANCES.items())


def to_onnx(network: AnomalyDae, path: Path) -> str:
    """Write the graph with weights and tables inside; returns its sha256. raises: ValueError if too large"""
    network.eval()
    example = (torch.zeros(1, 3, ROWS, COLUMNS), torch.ones(1, 1, ROWS, COLUMNS), torch.zeros(1, dtype=torch.int64))
    torch.onnx.export(
        network,
        example,
        str(path),
        input_names=list(INPUTS),
        output_names=list(OUTPUTS),
        dynamic_axes={name: {0: "n"} for name in (*INPUTS, *OUTPUTS)},
        opset_version=OPSET,
        do_constant_folding=True,
        dynamo=False,
    )
    data = path.read_bytes()
    if len(data) > LARGEST:
        raise ValueError(f"The file has {len(data)} bytes, more than {LARGEST}: make the network narrower.")
    return hashlib.sha256(data).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="what engines.training.triage_tables wrote")
    parser.add_argument("--version", required=True)
    parser.add_argument("--to", type=Path, default=ENGINES, help="folder with specs/ and weights/")
    arguments = parser.parse_args()
    network = AnomalyDae()
    network.load_state_dict(torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)["ema"])
    for folder in ("specs", "weights"):
        (arguments.to / folder).mkdir(parents=True, exist_ok=True)
    weights = arguments.to / "weights" / f"{NAME}.onnx"
    sha256 = to_onnx(network, weights)
    (arguments.to / "specs" / f"{NAME}.toml").write_text(spec_of(arguments.version, sha256), encoding="utf-8")
    reseal(arguments.to)
    print(f"{weights.stat().st_size} bytes, sha256 {sha256}")


if __name__ == "__main__":
    main()
