"""Write the measured figures into the model cards, so that no figure is copied by hand.

    python -m engines.training.card

reads engines/cards/NAME.json and rewrites the block between the marks in engines/cards/NAME.md.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from engines.training.card_contrast import contrast
from engines.training.card_superres import superres
from engines.training.card_table import Entry, cell, table
from engines.training.card_triage import triage

CARDS = Path(__file__).parents[1] / "cards"
BEGIN, END = "<!-- figures: python -m engines.training.card -->", "<!-- end of figures -->"
METHODS = {
    "identity": "input",
    "gaussian": "Gaussian",
    "total_variation": "total variation",
    "non_local_means": "non-local means",
    "bilateral": "bilateral",
    "blind_filter": "linear filter, from the curves",
    "fitted_filter": "linear filter, fitted",
    "network": "**network**",
}


def block(found: Entry) -> str:
    """All that stands between the marks."""
    engine = found["engine"]
    lines = [
        f"Version {engine['version']}, weights `{engine['sha256'][:20]}…`, "
        f'`validation_level = "{engine["validation_level"]}"`. [95 % interval.]',
        "",
        *([f"**{found['note']}**", ""] if "note" in found else []),
        *_acceptance(found["acceptance"]),
        *TABLES[engine["name"]](found["figures"]),
    ]
    return "\n".join(lines)


def _acceptance(lines: list[Entry]) -> list[str]:
    met = sum(line["passed"] for line in lines)
    made = [
        f"**Acceptance: {met} of {len(lines)} lines met.**",
        "",
        "| line | measured | n | wanted | |",
        "|---|---|---|---|---|",
    ]
    for line in lines:
        between = "" if line["low"] is None else f" [{line['low']:.3g}, {line['high']:.3g}]"
        verdict = "met" if line["passed"] else "**missed**"
        made.append(f"| {line['name']} | {line['value']:.3g}{between} | {line['n']} | {line['wanted']} | {verdict} |")
    return [*made, ""]


DENOISE_COLUMNS = {
    "rmse": "RMSE HU",
    "rmse_soft": "RMSE soft tissue HU",
    "ssim": "SSIM",
    "noise_reduction": "noise reduction %",
    "bias_soft": "bias soft HU",
    "edge_flat": "edge/flat",
    "kept_r3_20hu": "disk r 3 px kept",
    "kept_r6_20hu": "disk r 6 px kept",
}


def _denoise(figures: Entry) -> list[str]:
    lines = []
    for truth in ("cleaned", "linear"):
        part = figures[truth]
        rows = part["conditions"]["quarter dose"]
        count = rows["network"]["rmse"]["n"]
        told = "; ".join(f"{name.replace('_', ' ')} {values}" for name, values in part["tuned"]["quarter dose"].items())
        lines += [f"**Quarter dose, {truth} truth** ({count} slices; tuned: {told})", ""]
        lines += table(rows, DENOISE_COLUMNS, METHODS)
        lines += [f"**Other noise, {truth} truth**: RMSE HU on every third slice", ""]
        others = {name: entry for name, entry in part["conditions"].items() if name != "quarter dose"}
        lines += ["| method | " + " | ".join(others) + " |", "|---" * (len(others) + 1) + "|"]
        for method in rows:
            cells = [cell(entry[method]["rmse"]) for entry in others.values()]
            lines.append(f"| {METHODS[method]} | " + " | ".join(cells) + " |")
        lines.append("")
    return [*lines, *_water(figures["water"]), *_real_noise(figures["real_noise_phantom_bone_kernel"])]


def _water(water: Entry) -> list[str]:
    lines = [
        f"**Water cylinder**, noise {water['noise_hu']:g} HU, {water['n']} exposures, pixel {water['pixel_mm']:g} mm",
        "",
        "| method | noise reduction % | NPS peak /mm | NPS centroid /mm | MTF50 /mm at -10, -20, 100, 500 HU "
        "| CHO AUC 6 mm 10 HU | CHO AUC 5 mm 20 HU | the same, ten DoG channels |",
        "|---" * 8 + "|",
    ]
    for method, title in METHODS.items():
        if method in water:
            row = water[method]
            sharpness = ", ".join(f"{value:.2f}" for value in row["mtf50_per_mm"].values())
            cells = [
                f"{row['noise_reduction_percent']:.0f}",
                f"{row['nps_peak_per_mm']:.3f}",
                f"{row['nps_centroid_per_mm']:.3f}",
                sharpness,
                f"{row['cho_6mm_10hu']['auc']:.3f}",
                f"{row['cho_5mm_20hu']['auc']:.3f}",
                f"{row['cho_dog_6mm_10hu']['auc']:.3f}, {row['cho_dog_5mm_20hu']['auc']:.3f}",
            ]
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _real_noise(real: Entry) -> list[str]:
    return [
        f"**A scanner's own noise** (head phantom, bone kernel, flat regions of {real['sd_before']['n']} slices held "
        f"back): SD {cell(real['sd_before'])} HU before, {cell(real['sd_after'])} HU after; mean shift "
        f"{cell(real['mean_shift'])} HU.",
    ]


KERNEL_COLUMNS = {
    "rmse": "RMSE HU",
    "ssim": "SSIM",
    "bias_lung": "bias lung HU",
    "bias_soft": "bias soft HU",
    "bias_bone": "bias bone HU",
    "refilter": "re-filter residual / noise",
}


def _kernel(figures: Entry) -> list[str]:
    lines = []
    for direction in ("sharp to soft", "soft to sharp"):
        rows = figures["simulated"][direction]
        lines += [f"**{direction.capitalize()}**, simulated, {rows['network']['rmse']['n']} slices", ""]
        lines += table(rows, KERNEL_COLUMNS, METHODS)
        lines += [f"There and back again: RMSE {cell(rows['network']['cycle_rmse'])} HU against the input.", ""]
        lines += [
            "| RMSE HU by pair of kernels | n | input | from the curves | fitted | **network** |",
            "|---" * 6 + "|",
        ]
        for pair, entry in figures["simulated_by_pair"].items():
            order = ("identity", "blind_filter", "fitted_filter", "network")
            cells = " | ".join(f"{entry[direction][m]['rmse']['mean']:.2f}" for m in order)
            lines.append(f"| {pair} | {entry[direction]['network']['rmse']['n']} | {cells} |")
        lines.append("")
        lines += _kernel_water(figures["water"], direction)
        real = figures["real_pair"][direction]
        lines += [
            f"**The real pair, {direction}** ({real['network']['rmse']['n']} slices of the head phantom, UB and YA)",
            "",
            *table(
                {name: real[name] for name in ("identity", "blind_filter", "network")},
                {"rmse": "RMSE HU, all", "rmse_body": "RMSE HU, body", "bias_soft": "bias soft HU"},
                METHODS,
            ),
        ]
    lungs = figures["lungs"]
    return [
        *lines,
        f"**LAA-950 on {lungs['bias']['n']} lung phantoms**: target {cell(lungs['target'])} %, sharp "
        f"{cell(lungs['source'])} %, converted {cell(lungs['converted'])} %.",
    ]


def _kernel_water(water: Entry, direction: str) -> list[str]:
    entry = water[direction]
    lines = [
        f"Water cylinder ({water['n']} exposures): noise SD {entry['noise_sd_ratio']:.3f} of the target's.",
        "",
        "| /mm | source | target | converted | off % |",
        "|---|---|---|---|---|",
    ]
    names = {
        "mtf50_per_mm": "MTF50",
        "mtf10_per_mm": "MTF10",
        "nps_peak_per_mm": "NPS peak",
        "nps_centroid_per_mm": "NPS centroid",
    }
    for name, title in names.items():
        row = entry[name]
        cells = " | ".join(f"{row[key]:.3f}" for key in ("source", "target", "converted"))
        lines.append(f"| {title} | {cells} | {row['off_percent']:.1f} |")
    return [*lines, ""]


TABLES: Mapping[str, Callable[[Entry], list[str]]] = {
    "ct_denoise": _denoise,
    "ct_kernel": _kernel,
    "mr_postcontrast": contrast,
    "mra_superres": superres,
    "head_ct_triage": triage,
}


def written(text: str, found: Entry) -> str:
    """The card with its block written anew."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{block(found)}\n{END}{after}"


def main() -> None:
    for path in sorted(CARDS.glob("*.json")):
        card = path.with_suffix(".md")
        found = json.loads(path.read_text(encoding="utf-8"))
        card.write_text(written(card.read_text(encoding="utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    main()
