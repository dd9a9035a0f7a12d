"""Turn a checkpoint into the ONNX file and the specification that the node runs.

    python -m engines.training.export denoise CHECKPOINT --version 1.1.0
    python -m engines.training.export denoise CHECKPOINT --with OTHER --share 0.55 --version 1.1.0
    python -m engines.training.export kernel --untrained --version 0.0.1

Two checkpoints of one descent may be averaged (Wortsman et al. 2022): between one that was trained for the error and
one that went on for small lesions lies every compromise, without training it.

Record the cases anew afterwards (`imaging-node engines record NAME`): their answers belong to the weights.
"""

import argparse
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from engines.networks.contrast_unet import ContrastUnet
from engines.networks.kernel_unet import TOLD, KernelUnet
from engines.networks.pu_unet import PuUnet
from engines.networks.superres_unet import SLICES, SuperresUnet
from engines.slabs import FINE, SUPPORT
from engines.store import reseal

ENGINES = Path(__file__).parents[1]
OPSET = 17

HEAD = """\
# {what}; see ../cards/{name}.md. Nothing but the file with this digest runs under this name.
name = "{name}"
version = "{version}"
weights = "{name}.onnx"
sha256 = "{sha256}"
validation_level = "none"
z_support = {z_support}
"""
IMAGE = """
[[{kind}]]
name = "{tensor}"
shape = ["n", {channels}, "y", "x"]
dtype = "float32"
unit = "{unit}"
multiple_of = {{ y = 8, x = 8 }}
"""
VECTOR = """
[[inputs]]
name = "{tensor}"
shape = ["n", {length}]
dtype = "float32"
unit = "1"
"""
PROFILE = """
# Lengths that may be asked for: smallest, usual, largest.
[profile]
n = [1, 1, 4]
y = [64, {usual}, 1024]
x = [64, {usual}, 1024]
"""
TOLERANCES = """
# Largest difference between two backends on the same slice, {unit}.
[tolerances]
"""


@dataclass(frozen=True, kw_only=True)
class Product:
    """One network as an engine.

    images:  inputs that are images -> channels
    told:    inputs that are vectors -> length
    outputs: images -> channels
    unit:    of every image
    within:  what two backends may differ by, in that unit
    usual:   rows and columns of most slices
    """

    name: str
    what: str
    network: Callable[[], nn.Module]
    images: Mapping[str, int]
    outputs: Mapping[str, int]
    told: Mapping[str, int] = field(default_factory=dict)
    unit: str = "HU"
    within: float = 0.5
    usual: int = 512
    z_support: int = 0

    def spec(self, version: str, sha256: str) -> str:
        """The text of the .toml."""
        text = HEAD.format(what=self.what, name=self.name, version=version, sha256=sha256, z_support=self.z_support)
        for kind, images in (("inputs", self.images), ("outputs", self.outputs)):
            for tensor, channels in images.items():
                text += IMAGE.format(kind=kind, tensor=tensor, channels=channels, unit=self.unit)
            if kind == "inputs":
                text += "".join(VECTOR.format(tensor=tensor, length=length) for tensor, length in self.told.items())
        text += PROFILE.format(usual=self.usual) + TOLERANCES.format(unit=self.unit)
        return text + "".join(f"{output} = {self.within:g}\n" for output in self.outputs)


PRODUCTS = {
    "denoise": Product(
        name="ct_denoise",
        what="Low-dose CT denoise",
        network=PuUnet,
        images={"hu": 1},
        outputs={"denoised": 1},
    ),
    "kernel": Product(
        name="ct_kernel",
        what="CT kernel conversion in both directions",
        network=KernelUnet,
        images={"hu": 1, "linear": 1},
        told={"kernels": TOLD},
        outputs={"converted": 1},
    ),
    "contrast": Product(
        name="mr_postcontrast",
        what="Synthetic post-contrast T1 from T1, T2 and FLAIR",
        network=ContrastUnet,
        images={"t1": 3, "t2": 3, "flair": 3},
        told={"present": 3},
        outputs={"post": 1, "spread": 1},
        unit="WM",
        within=0.005,
        usual=256,
        z_support=1,
    ),
    "superres": Product(
        name="mra_superres",
        what="Through-plane super-resolution of time-of-flight angiography",
        network=SuperresUnet,
        images={"slices": SLICES},
        outputs={"thin": FINE},
        unit="ART",
        within=0.002,
        z_support=SUPPORT,
    ),
}


def to_onnx(product: Product, network: nn.Module, path: Path) -> str:
    """Write the graph with its weights inside; returns the sha256 of the file."""
    network.eval()
    example = [torch.zeros(1, channels, 64, 72) for channels in product.images.values()]
    example += [torch.ones(1, length) for length in product.told.values()]
    free = {name: {0: "n", 2: "y", 3: "x"} for name in (*product.images, *product.outputs)}
    free |= {name: {0: "n"} for name in product.told}
    torch.onnx.export(
        network,
        tuple(example),
        str(path),
        input_names=[*product.images, *product.told],
        output_names=list(product.outputs),
        dynamic_axes=free,
        opset_version=OPSET,
        do_constant_folding=True,
        dynamo=False,
    )
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_network(product: Product, checkpoint: Path, *, which: str = "ema") -> nn.Module:
    """The network of a checkpoint; `which` is "ema" or "raw"."""
    state: dict[str, dict[str, Tensor]] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network = product.network()
    network.load_state_dict(state[which])
    return network.eval()


def between(product: Product, one: Path, other: Path, share: float) -> nn.Module:
    """(1 - share) times the weights of one checkpoint plus share times those of the other."""
    first, second = load_network(product, one), load_network(product, other).state_dict()
    mixed = {name: torch.lerp(weight, second[name], share) for name, weight in first.state_dict().items()}
    first.load_state_dict(mixed)
    return first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=sorted(PRODUCTS))
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--untrained", action="store_true", help="the network before training: it changes nothing")
    parser.add_argument("--with", dest="other", type=Path, help="a second checkpoint to average with")
    parser.add_argument("--share", type=float, default=0.5, help="of the second checkpoint")
    parser.add_argument("--version", required=True)
    parser.add_argument("--to", type=Path, default=ENGINES, help="folder with specs/ and weights/")
    arguments = parser.parse_args()
    if arguments.untrained == (arguments.checkpoint is not None):
        parser.error("name a checkpoint, or --untrained")
    product = PRODUCTS[arguments.task]
    if arguments.untrained:
        network = product.network()
    elif arguments.other is not None:
        network = between(product, arguments.checkpoint, arguments.other, arguments.share)
    else:
        network = load_network(product, arguments.checkpoint)
    for folder in ("specs", "weights"):
        (arguments.to / folder).mkdir(parents=True, exist_ok=True)
    weights = arguments.to / "weights" / f"{product.name}.onnx"
    sha256 = to_onnx(product, network, weights)
    spec = arguments.to / "specs" / f"{product.name}.toml"
    spec.write_text(product.spec(arguments.version, sha256), encoding="utf-8")
    reseal(arguments.to)
    print(f"{weights.stat().st_size} bytes, sha256 {sha256}")


if __name__ == "__main__":
    main()
