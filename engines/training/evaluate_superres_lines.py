"""The lines of acceptance of NETWORKS D4, from the figures of every scan."""

from collections.abc import Mapping, Sequence
from typing import Any

from engines.training import measures
from engines.training.evaluate_superres import Row, column
from engines.training.evaluate_superres_scans import Task
from engines.training.evaluation import Line


def gained(rows: Sequence[Row], name: str, over: str) -> measures.Interval:
    """The network's figure minus another method's, scans paired."""
    both = [(row["network"][name], row[over][name]) for row in rows]
    return measures.interval([ours - theirs for ours, theirs in both])


def lines(rows: Sequence[Row], tasks: Sequence[Task], figures: Mapping[str, Any]) -> list[Line]:
    """Every line of D4."""
    ibp, cubic = "back_projection", "cubic"

    def line(name: str, of: measures.Interval, least: float | None = None, most: float | None = None) -> Line:
        return Line(name=name, value=of.mean, low=of.low, high=of.high, n=of.n, least=least, most=most)

    found = [
        line("PSNR in the brain above iterative back-projection, dB", gained(rows, "psnr", ibp), least=1.0),
        line("PSNR in the brain above cubic interpolation, dB", gained(rows, "psnr", cubic), least=2.0),
        line("PSNR near vessels above iterative back-projection, dB", gained(rows, "psnr_vessels", ibp), least=1.0),
        line("PSNR near vessels above cubic interpolation, dB", gained(rows, "psnr_vessels", cubic), least=2.0),
        line("MIP MS-SSIM above cubic, mean of three planes", gained(rows, "ms_ssim", cubic), least=0.08),
        line("vessel Dice above back-projection", gained(rows, "dice", ibp), least=0.05),
        line("vessel clDice above back-projection", gained(rows, "cldice", ibp), least=0.05),
        line(
            "diameter bias, vessels of 2 mm and more, mm",
            measures.interval(column(rows, "network", "diameter_bias_mm")),
            least=-0.2,
            most=0.2,
        ),
    ]
    widths = figures["probes"]["network"]
    for what in ("wires", "points"):
        entry = widths[what]
        found.append(
            Line(
                name=f"measured through-plane FWHM of {what}, 4 mm to factor 4, mm",
                value=entry["mean"],
                low=entry["low"],
                high=entry["high"],
                n=int(entry["n"]),
                most=2.0,
            )
        )
    seen = measures.ratio_interval(
        column(rows, "network", "aneurysms_found"),
        column(rows, "network", "aneurysms_visible"),
        [f"{task.head} {task.seed}" for task in tasks],
    )
    visible = int(sum(column(rows, "network", "aneurysms_visible")))
    found.append(
        Line(
            name="aneurysms of 3 to 5 mm found, of those visible in truth",
            value=seen.mean,
            low=seen.low,
            high=seen.high,
            n=visible,
            least=0.9,
        )
    )
    found.append(
        line("false vessel length, %", measures.interval(column(rows, "network", "false_length_percent")), most=2.0)
    )
    found.append(
        line(
            "largest residual of the re-averaged slices, % of arterial signal",
            measures.interval(column(rows, "network", "residual_percent")),
            most=1.0,
        )
    )
    return found
