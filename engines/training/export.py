"""Turn a checkpoint into the ONNX file and the specification that the node runs.

python -m engines.training.export CHECKPOINT --version 1.0.0
python -m engines.training.export --untrained --version 0.0.1
"""

import argparse
import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from engines.networks.pu_unet import PuUnet, Shape

ENGINES = Path(__file__).parents[1]
OPSET = 17

SPEC = """\
# Low-dose CT denoise; see ../cards/ct_denoise.md. Nothing but the file with this digest runs under this name.
name = "ct_denoise"
version = "{version}"
weights = "ct_denoise.onnx"
sha256 = "{sha256}"
validation_level = "none"
z_support = 0

[[inputs]]
name = "hu"
shape = ["n", 1, "y", "x"]
dtype = "float32"
unit = "HU"
multiple_of = {{ y = 8, x = 8 }}
longest = 1024

[[outputs]]
name = "denoised"
shape = ["n", 1, "y", "x"]
dtype = "float32"
unit = "HU"
multiple_of = {{ y = 8, x = 8 }}
longest = 1024

# Largest difference between two backends on the same slice, HU.
[tolerances]
denoised = 0.5
"""


def to_onnx(network: nn.Module, path: Path) -> str:
    """Write the graph with its weights inside; returns the sha256 of the file."""
    network.eval()
    example = torch.zeros(1, 1, 64, 72)
    free = {"hu": {0: "n", 2: "y", 3: "x"}, "denoised": {0: "n", 2: "y", 3: "x"}}
    torch.onnx.export(
        network,
        (example,),
        str(path),
        input_names=["hu"],
        output_names=["denoised"],
        dynamic_axes=free,
        opset_version=OPSET,
        do_constant_folding=True,
        dynamo=False,
    )
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_network(checkpoint: Path, *, which: str = "ema") -> PuUnet:
    """The network of a checkpoint; `which` is "ema" or "raw"."""
    state: dict[str, dict[str, Tensor]] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network = PuUnet(Shape())
    network.load_state_dict(state[which])
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--untrained", action="store_true", help="the network before training: output equals input")
    parser.add_argument("--version", required=True)
    parser.add_argument("--to", type=Path, default=ENGINES, help="folder with specs/ and weights/")
    arguments = parser.parse_args()
    if arguments.untrained == (arguments.checkpoint is not None):
        parser.error("name a checkpoint, or --untrained")
    network = PuUnet(Shape()) if arguments.untrained else load_network(arguments.checkpoint)
    for folder in ("specs", "weights"):
        (arguments.to / folder).mkdir(parents=True, exist_ok=True)
    weights = arguments.to / "weights" / "ct_denoise.onnx"
    sha256 = to_onnx(network, weights)
    spec = arguments.to / "specs" / "ct_denoise.toml"
    spec.write_text(SPEC.format(version=arguments.version, sha256=sha256), encoding="utf-8")
    print(f"{weights.stat().st_size} bytes, sha256 {sha256}")


if __name__ == "__main__":
    main()
