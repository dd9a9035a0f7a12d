"""The figures of the super-resolution card as tables."""

from engines.training.card_table import Entry, cell, table

METHODS = {
    "nearest": "nearest (the thick slices)",
    "linear": "linear",
    "cubic": "cubic",
    "back_projection": "iterative back-projection",
    "network": "**network**",
    "network_fourier": "network, Fourier consistency",
    "truth": "truth itself",
}
COLUMNS = {
    "psnr": "PSNR brain dB",
    "psnr_vessels": "PSNR near vessels dB",
    "ms_ssim": "MIP MS-SSIM",
    "dice": "vessel Dice",
    "cldice": "clDice",
    "diameter_bias_mm": "diameter bias mm",
    "false_length_percent": "false length %",
    "residual_percent": "largest residual %",
}


def superres(figures: Entry) -> list[str]:
    """All tables below the lines of acceptance."""
    every = figures["simulated"]
    lines = [f"**4 mm to 1 mm, both kinds of scan** ({every['network']['psnr']['n']} simulated scans held back)", ""]
    lines += table(every, COLUMNS, METHODS, _digits)
    for kind, rows in figures["simulated_by_profile"].items():
        lines += [
            f"**{kind}** ({rows['network']['psnr']['n']} scans)",
            "",
            *table(rows, COLUMNS, METHODS, _digits),
        ]
    lines += _planes(every)
    lines += _probes(figures["probes"])
    lines += _others(figures["others"])
    return [*lines, *_real(figures["real"])][:-1]


def _planes(rows: Entry) -> list[str]:
    lines = ["| MIP MS-SSIM | axial | coronal | sagittal |", "|---" * 4 + "|"]
    for name in ("nearest", "cubic", "back_projection", "network"):
        cells = " | ".join(cell(rows[name][f"ms_ssim_{plane}"], 3) for plane in ("axial", "coronal", "sagittal"))
        lines.append(f"| {METHODS[name]} | {cells} |")
    return [*lines, ""]


def _probes(probes: Entry) -> list[str]:
    kinds = list(probes["network"]["wires_by_profile"])
    lines = [
        "**Measured width along z, 4 mm made into 1 mm**: full width at half maximum of wires in the plane of the "
        "slices and of points, 10 to 90 % of an edge; mm",
        "",
        "| method | wires | " + " | ".join(f"wires, {kind}" for kind in kinds) + " | points | edge |",
        "|---" * (4 + len(kinds)) + "|",
    ]
    for name in ("cubic", "back_projection", "network", "truth"):
        row = probes[name]
        cells = [cell(row["wires"])]
        cells += [f"{row['wires_by_profile'][kind]:.2f}" if kind in row["wires_by_profile"] else "" for kind in kinds]
        cells += [cell(row[probe]) if probe in row else "" for probe in ("points", "edges")]
        lines.append(f"| {METHODS[name]} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _others(others: Entry) -> list[str]:
    lines = [
        "**Other spacings and factors** (PSNR in the brain, dB; vessel Dice)",
        "",
        "| | n | cubic | back-projection | **network** | Dice: back-projection | **network** | truth |",
        "|---" * 8 + "|",
    ]
    for title, rows in others.items():
        cells = [f"{rows[name]['psnr']['mean']:.2f}" for name in ("cubic", "back_projection", "network")]
        cells += [f"{rows[name]['dice']['mean']:.3f}" for name in ("back_projection", "network", "truth")]
        lines.append(f"| {title} | {rows['network']['psnr']['n']} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _real(real: Entry) -> list[str]:
    lines = [
        "**Real volumes, other contrasts** (one person each; intervals over pieces of the volume)",
        "",
        "| PSNR dB | pieces | nearest | linear | cubic | back-projection | **network** |",
        "|---" * 7 + "|",
    ]
    order = ("nearest", "linear", "cubic", "back_projection", "network")
    for title, rows in real.items():
        cells = " | ".join(cell(rows[name]["psnr"]) for name in order)
        lines.append(f"| {title} | {rows['network']['psnr']['n']} | {cells} |")
    lines += ["", "| Dice of what is bright | pieces | nearest | linear | cubic | back-projection | **network** |"]
    lines.append("|---" * 7 + "|")
    for title, rows in real.items():
        cells = " | ".join(cell(rows[name]["dice_bright"], 3) for name in order)
        lines.append(f"| {title} | {rows['network']['dice_bright']['n']} | {cells} |")
    return [*lines, ""]


def _digits(name: str) -> int:
    return 3 if "ssim" in name or "dice" in name else 2
