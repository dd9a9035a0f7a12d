"""Compare the shipped network with a Gaussian and with total variation on held-back slices.

    python -m engines.training.compare --json > engines/cards/ct_denoise.json

The truth is a cleaned public slice (engines/training/clean.py), the input the same slice with simulated noise. The
classical filters are told the dose: their strength is tuned for every noise level on the training split. The network,
run by ONNX Runtime from the committed file, is told nothing.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.restoration import denoise_tv_chambolle

from engines.kernel import Kernel
from engines.ort import OrtEngine
from engines.store import load_spec
from engines.training.cache import unit_noise
from engines.training.clean import box, read_nifti
from engines.training.detail import probe_field
from engines.training.sources import DATA, PHANTOM, SOURCES, Role, Source, clean_slices

Image = NDArray[np.float32]
Method = Callable[[Image], Image]

SOFT, SHARP = Kernel(cutoff=0.85), Kernel(cutoff=1.5, boost=0.5)
PROBE_HU = 30.0
COARSE_MM = 1.1
TISSUES = (("lung", -930, -650), ("fat", -140, -40), ("soft", -20, 120), ("bone", 250, 1500))


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A noise level: SD in the body, HU, and the kernel."""

    name: str
    kernel: Kernel
    sd_hu: float


CONDITIONS = (
    Condition(name="soft kernel, 10 HU", kernel=SOFT, sd_hu=10.0),
    Condition(name="soft kernel, 20 HU", kernel=SOFT, sd_hu=20.0),
    Condition(name="soft kernel, 40 HU", kernel=SOFT, sd_hu=40.0),
    Condition(name="sharp kernel, 40 HU", kernel=SHARP, sd_hu=40.0),
)
SIGMAS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9, 1.1, 1.4, 1.8, 2.3)
WEIGHTS = (0.3, 0.5, 0.8, 1.2, 1.7, 2.3)  # times the SD of the noise


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """A clean slice and its noise, one image per condition."""

    source: Source
    index: int
    clean: Image
    noise: tuple[Image, ...]

    def noisy(self, condition: int) -> Image:
        """The input, (s, s) HU."""
        return np.clip(self.clean + self.noise[condition], -1024.0, 3071.0).astype(np.float32)


def gaussian(sigma: float) -> Method:
    """Gaussian filter, sigma in pixels."""
    return lambda image: gaussian_filter(image, sigma).astype(np.float32)


def total_variation(weight: float) -> Method:
    """Chambolle's total variation, weight in HU."""
    return lambda image: denoise_tv_chambolle(image, weight=weight, eps=1e-4, max_num_iter=120).astype(np.float32)


def network(engine: OrtEngine) -> Method:
    """The committed network."""
    return lambda image: engine.infer({"hu": image[None, None]})["denoised"][0, 0]


def make_slice(source: Source, index: int, clean: Image) -> Slice:
    """Noise with a seed of its own for every slice, so that a repeat gives the same figures."""
    rng = np.random.default_rng([int.from_bytes(hashlib.sha256(source.path.encode()).digest()[:4], "big"), index])
    soft, sharp = unit_noise(clean, source.pixel_mm, (SOFT, SHARP), rng)
    body = clean > -500.0
    units = {SOFT: soft / soft[body].std(), SHARP: sharp / sharp[body].std()}
    return Slice(
        source=source,
        index=index,
        clean=clean,
        noise=tuple(units[condition.kernel] * np.float32(condition.sd_hu) for condition in CONDITIONS),
    )


def rmse(image: Image, item: Slice) -> float:
    """Inside the body (above -500 HU), HU."""
    return float(np.sqrt(np.mean(np.square(image - item.clean)[item.clean > -500.0])))


def figures(method: Method, item: Slice, condition: int) -> dict[str, float]:
    """Everything that is measured on one slice."""
    noisy = item.noisy(condition)
    made = method(noisy)
    found = {"rmse": rmse(made, item)}
    soft = (item.clean > -20.0) & (item.clean < 120.0)
    found["noise_left"] = float(
        np.std((made - item.clean)[soft]) / max(float(np.std((noisy - item.clean)[soft])), 1e-6)
    )
    for name, lowest, highest in TISSUES:
        inside = (item.clean >= lowest) & (item.clean < highest)
        if np.count_nonzero(inside) >= 500:
            found[f"bias_{name}"] = float(np.mean((made - item.clean)[inside]))
    for radius in (3, 6):
        rng = np.random.default_rng([item.index, radius])
        probe = probe_field(rng, item.clean, item.clean.shape[0], float(radius), PROBE_HU)
        place = np.abs(probe) > PROBE_HU / 2
        if np.any(place):
            change = method((noisy + probe).astype(np.float32)) - made
            found[f"kept_r{radius}"] = float(np.mean((change * np.sign(probe))[place]) / np.mean(np.abs(probe[place])))
    return found


def tune(build: Callable[[float], Method], strengths: tuple[float, ...], items: list[Slice], condition: int) -> float:
    """The strength with the smallest mean RMSE on the training split."""
    scores = [np.mean([rmse(build(value)(item.noisy(condition)), item) for item in items]) for value in strengths]
    return strengths[int(np.argmin(scores))]


def interval(values: list[float]) -> dict[str, float]:
    """Mean and 95 % interval by bootstrap over slices."""
    array = np.asarray(values)
    draws = np.random.default_rng(0).choice(array, (2000, len(array))).mean(axis=1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return {"mean": _short(array.mean()), "low": _short(low), "high": _short(high), "n": len(values)}


def _short(value: float) -> float:
    return round(float(value), 4)


def summary(rows: list[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """`interval` of every figure over the slices that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: interval([row[name] for row in rows if name in row]) for name in names}


def compare(engine: OrtEngine, data: Path) -> dict[str, object]:
    """The whole table."""
    tuning = [
        make_slice(source, index, clean)
        for source in SOURCES
        # Nothing as coarse is held back; tuned on it, both filters would come out too weak.
        if source.role is Role.TRAIN and source.pixel_mm < COARSE_MM
        for index, clean in list(clean_slices(_first(source, 2), data))
    ]
    held_back = [
        make_slice(source, index, clean)
        for source in SOURCES
        if source.role is Role.HELD_BACK
        for index, clean in clean_slices(source, data)
    ]
    table = {}
    for number, condition in enumerate(CONDITIONS):
        sigma = tune(gaussian, SIGMAS, tuning, number)
        weights = tuple(weight * condition.sd_hu for weight in WEIGHTS)
        weight = tune(total_variation, weights, tuning, number)
        methods: dict[str, Method] = {
            "identity": lambda image: image,
            "gaussian": gaussian(sigma),
            "total_variation": total_variation(weight),
            "network": network(engine),
        }
        rows = {name: [figures(method, item, number) for item in held_back] for name, method in methods.items()}
        table[condition.name] = {
            "tuned": {"gaussian_sigma_px": sigma, "total_variation_weight_hu": weight},
            **{name: summary(list(found)) for name, found in rows.items()},
            "network_rmse_below": {
                name: sum(ours["rmse"] < other["rmse"] for ours, other in zip(rows["network"], rows[name], strict=True))
                for name in ("identity", "gaussian", "total_variation")
            },
        }
    return {
        "engine": {"name": engine.spec.name, "version": engine.spec.version, "sha256": engine.spec.sha256},
        "truth": "public slices cleaned by non-local means; simulated noise",
        "held_back": [_listed(source, data) for source in SOURCES if source.role is Role.HELD_BACK],
        "real_noise_phantom_bone_kernel": real_noise(network(engine), data),
        "conditions": table,
    }


def real_noise(method: Method, data: Path) -> dict[str, dict[str, float]]:
    """A scanner's own noise: the phantom with a bone kernel, whose soft-kernel twin says where it is flat.

    No simulation is in this: SD before and after, and the shift of the mean, in regions whose twin varies by less than
    3 HU over 9x9 pixels. The slices are those held back; the bone-kernel volume was never trained on.
    """
    sharp = read_nifti(data / PHANTOM.replace("UB", "YA"))
    soft = read_nifti(data / PHANTOM)
    rows = []
    for source in SOURCES:
        if source.path != PHANTOM or source.role is not Role.HELD_BACK:
            continue
        for index in source.slices:
            mean = box(soft[index], 4)
            flat = (box(np.square(soft[index] - mean), 4) < 9.0) & (mean > -50.0) & (mean < 150.0)
            y, x = (side // 8 * 8 for side in sharp[index].shape)
            image, place = np.ascontiguousarray(sharp[index, :y, :x]), flat[:y, :x]
            made = method(image)
            before, after = (image - box(image, 4))[place], (made - box(made, 4))[place]
            rows.append(
                {
                    "sd_before": float(before.std()),
                    "sd_after": float(after.std()),
                    "mean_shift": float((made - image)[place].mean()),
                }
            )
    return summary(list(rows))


def _first(source: Source, count: int) -> Source:
    return Source(**{**vars(source), "slices": source.slices[:: max(len(source.slices) // count, 1)][:count]})


def _listed(source: Source, data: Path) -> dict[str, object]:
    path = data / source.path
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return {"path": source.path, "slices": list(source.slices), "sha256": digests}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--engines", type=Path, help="folder with specs/ and weights/; default: those that ship")
    arguments = parser.parse_args()
    with OrtEngine(load_spec("ct_denoise", arguments.engines), threads=2) as engine:
        found = compare(engine, arguments.data)
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    for condition, entry in found["conditions"].items():  # type: ignore[attr-defined]  # built above as a dict
        for method in ("identity", "gaussian", "total_variation", "network"):
            values = {name: value["mean"] for name, value in entry[method].items()}
            print(condition, method, values)


if __name__ == "__main__":
    main()
