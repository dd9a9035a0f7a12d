"""Write the measured figures into the model card, so that no figure is copied by hand.

python -m engines.training.card      reads engines/cards/ct_denoise.json, rewrites the block in ct_denoise.md
"""

import json
from pathlib import Path
from typing import Any

CARDS = Path(__file__).parents[1] / "cards"
BEGIN, END = "<!-- figures: python -m engines.training.card -->", "<!-- end of figures -->"
METHODS = {
    "identity": "input",
    "gaussian": "Gaussian, sigma tuned",
    "total_variation": "total variation, weight tuned",
    "network": "**network**",
}


def figures(found: dict[str, Any]) -> str:
    """Markdown tables of every condition, with means and 95 % intervals."""
    engine = found["engine"]
    lines = [f"Version {engine['version']}, weights `{engine['sha256'][:20]}…`. Mean [95 % interval].", ""]
    for name, entry in found["conditions"].items():
        count = entry["network"]["rmse"]["n"]
        tuned = entry["tuned"]
        lines += [
            f"**{name}** ({count} slices; Gaussian sigma {tuned['gaussian_sigma_px']} px, "
            f"TV weight {tuned['total_variation_weight_hu']:.3g} HU)",
            "",
            "| method | RMSE HU | noise left in soft tissue | bias soft HU | bias fat HU | bias lung HU | bias bone HU "
            "| disk r 3 px kept | disk r 6 px kept |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for method, title in METHODS.items():
            row = entry[method]
            columns = ("rmse", "noise_left", "bias_soft", "bias_fat", "bias_lung", "bias_bone", "kept_r3", "kept_r6")
            lines.append(f"| {title} | " + " | ".join(_cell(row[column]) for column in columns) + " |")
        below = entry["network_rmse_below"]
        lines += [
            "",
            f"RMSE below the Gaussian's on {below['gaussian']} and below total variation's on "
            f"{below['total_variation']} of {count} slices.",
            "",
        ]
    real = found["real_noise_phantom_bone_kernel"]
    lines += [
        f"**A scanner's own noise** (head phantom, bone kernel, flat regions of {real['sd_before']['n']} slices held "
        f"back): SD {_cell(real['sd_before'])} HU before, {_cell(real['sd_after'])} HU after; mean shift "
        f"{_cell(real['mean_shift'])} HU.",
    ]
    return "\n".join(lines)


def _cell(value: dict[str, float]) -> str:
    return f"{value['mean']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"


def main() -> None:
    found = json.loads((CARDS / "ct_denoise.json").read_text(encoding="utf-8"))
    card = CARDS / "ct_denoise.md"
    text = card.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    card.write_text(f"{before}{BEGIN}\n{figures(found)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
