"""The tables of the card of head_ct_triage. Every figure is of simulated heads but those of the public volumes."""

from collections.abc import Mapping
from typing import Any

from engines.training.card_table import Entry, cell

METHODS = {
    "network": "**network**",
    "threshold rule": "50 to 90 HU, mL",
    "asymmetry index": "asymmetry",
    "atlas z-map": "atlas z-map",
}


def triage(figures: Entry) -> list[str]:
    """All tables of the card of head_ct_triage."""
    cases, flag, rule = figures["cases"], figures["flag"], figures["alarm_at_1_ml"]
    insertion, calibration = figures.get("insertion", {}), figures["calibration"]
    lines = [
        f"**{cases['normal']} simulated normal heads and {cases['abnormal']} simulated heads with a lesion**, from "
        "heads 05 and 06. Intervals are over cases; all cases come from these two heads.",
        "",
        f"Analysed: {cell(cases['analysed_normal'])} of the normal, {cell(cases['analysed_abnormal'])} of the "
        "abnormal. What follows is of those; if every normal head that was not analysed had the highest score and "
        f"every abnormal one the lowest, the AUC were {cell(figures['worst_case_auc'], 3)}.",
        "",
        "| simulated | n | " + " | ".join(f"AUC, {title}" for title in METHODS.values()) + " |",
        "|---" * (len(METHODS) + 2) + "|",
    ]
    groups = figures["groups"]
    for name, row in groups.items():
        cells = [cell(row[method]["auc"], 3) if row[method] else "" for method in METHODS]
        lines.append(f"| {name} | {row['n']} | " + " | ".join(cells) + " |")
    lines += ["", "| simulated | n | " + " | ".join(f"sensitivity, {title}" for title in METHODS.values()), ""]
    lines[-2] += " | map on the lesion, network | atlas |"
    lines[-1] = "|---" * (len(METHODS) + 4) + "|"
    for name, row in groups.items():
        cells = [cell(row[method]["sensitivity"]) if row[method] else "" for method in METHODS]
        cells += [cell(row[m]["hit"]) if "hit" in row[m] else "" for m in ("network", "atlas z-map")]
        lines.append(f"| {name} | {row['n']} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Sensitivity at 90 % specificity, the threshold from these normal heads. At the threshold that ships: "
        f"specificity {cell(flag['specificity'])}, sensitivity {cell(flag['sensitivity'])}; flagged or on top because "
        f"not analysable {cell(flag['on_top'])}. The threshold rule at 1 mL: specificity {cell(rule['specificity'])}, "
        f"sensitivity {cell(rule['sensitivity'])}.",
        "",
        "AUC by head: " + ", ".join(
            f"{name} {cell(row['auc'], 3)}" for name, row in figures["by_head"].items() if row
        ) + ".",
        "",
        f"**Calibration**, both kinds weighing the same: ECE {calibration['ece']:.3f}, "
        f"Brier {calibration['brier']:.3f}.",
        "",
        "**FROC**: " + ", ".join(f"{found:.2f} of lesions at {rate:g}" for rate, found in figures["froc"])
        + " marks in a normal head.",
        "",
        *_insertion(insertion),
        *_scope(figures["out_of_scope"]),
        f"**Ways of lying** (supine, prone, head or feet first; {figures['turned']['n']} series): "
        f"{figures['turned']['analysed']} analysed, largest difference of the logit "
        f"{figures['turned']['largest_logit_difference']:.2f}.",
        "",
    ]  # fmt: skip
    return [*lines, *_real(figures["real"])]


def _insertion(found: Mapping[str, Any]) -> list[str]:
    if not found:
        return []
    told = f"a linear classifier on noise, edges and values has AUC {cell(found['classifier_auc'])}"
    if "score_auc" in found:
        told += f", the score {cell(found['score_auc'])}"
    return [
        f"**Insertion leaves no traces**: heads that went through every step of an insertion with nothing inserted "
        f"(n = {found['n']}) against normal heads: {told}; 0.5 is chance.",
        "",
    ]


def _scope(found: Mapping[str, Any]) -> list[str]:
    lines = ["**Out of scope**, simulated", "", "| class | refused | by the image alone |", "|---|---|---|"]
    for name, row in found.items():
        lines.append(f"| {name} | {cell(row['refused'])} (n = {row['refused']['n']}) | {cell(row['by_image'])} |")
    return [*lines, ""]


def _real(found: list[Mapping[str, Any]]) -> list[str]:
    lines = [
        "**Public volumes, one by one**, each told to be a head in its header",
        "",
        "| volume | what it is | said |",
        "|---|---|---|",
    ]
    for row in found:
        said = "; ".join(row["reasons"]) or f"probability {row['probability']:.2f}, flag {row['flagged']}"
        lines.append(f"| {row['name']} | {row['what']} | {said} |")
    return [*lines, ""]
