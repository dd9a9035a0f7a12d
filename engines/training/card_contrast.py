"""The tables of the card of mr_postcontrast."""

from engines.training.card_table import Entry, cell, table

METHODS = {
    "truth": "real T1 + Gd",
    "identity": "input",
    "t1_map": "line through T1",
    "regression": "regression on T1, T2, FLAIR",
    "network": "**network**",
}
CONTRAST_COLUMNS = {
    "ccc": "CCC of volumes",
    "sensitivity": "lesions ≥ 1 mL found",
    "false_lesions": "false lesions per case",
    "false_ml": "false mL per case",
    "mae": "MAE in the enhancing region, WM",
    "psnr": "PSNR there, dB",
    "ssim": "SSIM there",
    "nawm_percent": "white matter %",
}
QUIET_COLUMNS = {"quiet": "share that enhances falsely", "false_ml": "false mL per case"}
CONTROL_COLUMNS = {"sinus": "sinus", "choroid": "choroid plexus", "pituitary": "pituitary"}


def contrast(figures: Entry) -> list[str]:
    """All tables of the card of mr_postcontrast."""
    methods = ("t1_map", "regression", "network")

    def rows(part: str) -> dict[str, Entry]:
        return {name: figures[part][name] for name in methods}

    count = figures["lesions"]["network"]["ccc"]["n"]
    threshold = figures["threshold"]
    own = figures["ccc_at_own_threshold"]
    agreement = figures["bland_altman_ml"]
    lines = [
        f"Threshold of enhancement, all methods: {threshold['t1_map']:g} (chosen on head 04).",
        "",
        f"**Heads 05 and 06, lesions with an independent leak** ({count} cases)",
        "",
        *table(rows("lesions"), CONTRAST_COLUMNS, METHODS),
        f"CCC at each baseline's own best threshold: line {cell(own['t1_map'])} at {threshold['t1_map own']:g}, "
        f"regression {cell(own['regression'])} at {threshold['regression own']:g}.",
        "",
        f"Bland-Altman of the network's volumes: {agreement['bias']:+.2f} mL, "
        f"limits of agreement ± {agreement['limit']:.2f} mL.",
        "",
        f"Lesions that look as if they leaked and do not: {cell(figures['lesions']['network']['surprise'])} of "
        f"{figures['lesions']['network']['surprise']['n']} enhance in the network's image.",
        "",
        "**Controls**: share of cases in which they enhance (median ratio over 1.15)",
        "",
        *table(rows("lesions"), CONTROL_COLUMNS, METHODS),
        f"True change of normal-appearing white matter: {cell(figures['lesions']['true_nawm_percent'])} %.",
        "",
    ]
    quiet = "only lesions with the barrier whole"
    lines += [f"**Only lesions that do not leak** ({figures[quiet]['network']['false_ml']['n']} cases)", ""]
    lines += table(rows(quiet), QUIET_COLUMNS, METHODS)
    free = figures["lesion-free"]
    lines += [f"**Heads without lesions** ({free['network']['false_ml']['n']} cases)", ""]
    lines += table(rows("lesion-free"), {"false_ml": "false mL per case", "nawm_percent": "white matter %"}, METHODS)
    for part in ("FLAIR missing", "T2 missing"):
        lines += [f"**{part}** ({figures[part]['network']['ccc']['n']} of the cases above)", ""]
        lines += table(
            rows(part), {name: CONTRAST_COLUMNS[name] for name in ("ccc", "sensitivity", "false_lesions")}, METHODS
        )
    covered = figures["lesions"]
    lines += [
        f"**Spread**: within {figures['spread_scale']:.2f} times `spread` (scaled on head 04 for 0.95) lie "
        f"{cell(covered['covered'])} of the voxels of the brain and "
        f"{cell(covered['covered_lesions'])} of those of lesions.",
        "",
    ]
    return [*lines, *_real_contrast(figures["real"])]


def _real_contrast(real: Entry) -> list[str]:
    found, stroke = real["glioma"], real["stroke"]
    lines = [
        f"**The real glioma** (n = 1). Its tumour ({found['tumour_ml']:.1f} mL, from FLAIR) does not enhance. "
        f"Enhancing region: {found['true_ml']:.1f} mL where T1 with gadolinium over T1 exceeds 1.25 (vessels, choroid)",
        "",
        "| | tumour over the threshold | tumour, change of signal % | tumour, MAE, WM | enhancing region over the "
        "threshold | MAE there, WM | SSIM there | brain over the threshold, mL | SSIM brain |",
        "|---" * 9 + "|",
    ]
    for name in ("truth", "identity", "t1_map", "regression", "network"):
        row = found[name]
        cells = [
            f"{row['of_tumour']:.2f}",
            f"{row['tumour_percent']:+.1f}",
            f"{row['tumour_mae']:.3f}",
            f"{row['of_region']:.2f}",
            f"{row['mae']:.3f}",
            f"{row['ssim']:.2f}",
            f"{row['seen_ml']:.1f}",
            f"{row['brain_ssim']:.2f}",
        ]
        lines.append(f"| {METHODS[name]} | " + " | ".join(cells) + " |")
    return [
        *lines,
        "",
        f"**The real stroke, no contrast given** (n = 1): {stroke['seen_ml']:.1f} of {stroke['brain_ml']:.0f} mL over "
        f"the threshold, white matter {stroke['white_percent']:+.1f} %, smallest ratio {stroke['least_ratio']:.4f}.",
    ]
