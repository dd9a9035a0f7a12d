"""Colours and words for values.

The colours are those of Okabe and Ito, and two of Tol, which people with any colour vision tell apart. Orange and
vermilion mean that somebody has to look; nothing else has them. What is known by name (a pipeline, a modality, a stage)
has one colour on every dashboard; all else are shades of one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard

Steps = Sequence[tuple[float, str]]
Words = Mapping[int, tuple[str, str]]

SKY, BLUE, GREEN, YELLOW, PURPLE, GREY = "#56B4E9", "#0072B2", "#009E73", "#F0E442", "#CC79A7", "#999999"
WHITE, WINE, SAND = "#FFFFFF", "#882255", "#DDCC77"
ORANGE, VERMILION = "#E69F00", "#D55E00"
# Names that the node gives, by what lines are named after.
COLOURS: Final = {
    "{{pipeline}}": {
        "ct-denoise": SKY, "ct-kernel": BLUE, "mr-postcontrast": GREEN, "mra-superres": YELLOW,
        "head-ct-triage": PURPLE,
    },
    "{{modality}}": {"CT": SKY, "MR": GREEN, "other": GREY},
    "{{stage}}": {
        "receive": GREY, "assemble": BLUE, "route": WINE, "prepare": SKY, "register": SAND, "infer": GREEN,
        "check": YELLOW, "derive": PURPLE, "deliver": WHITE,
    },
    "{{flag}}": {"FLAG_NOT_RAISED": SKY, "FLAG_RAISED": YELLOW, "NOT_ANALYSABLE": GREY},
    "{{verdict}}": {"pass": SKY, "caution": ORANGE, "reject": VERMILION},
    "median": {"median": SKY},
    "95th": {"95th": YELLOW},
}  # fmt: skip
FLAWS: Final[Steps] = ((0, SKY), (1, VERMILION))  # one is too many
UP: Final[Words] = {0: ("DOWN", VERMILION), 1: ("up", SKY)}


def steps_of(steps: Steps) -> build.ThresholdsConfig:
    """Colours from a value on; the first holds for all below, too."""
    return (
        build.ThresholdsConfig()
        .mode(dashboard.ThresholdsMode.ABSOLUTE)
        .steps(
            [dashboard.Threshold(value=value if at else None, color=colour) for at, (value, colour) in enumerate(steps)]
        )
    )


def words_of(words: Words) -> dashboard.ValueMap:
    """A word and its colour for each value."""
    return dashboard.ValueMap(
        options={
            str(value): dashboard.ValueMappingResult(text=text, color=colour, index=at)
            for at, (value, (text, colour)) in enumerate(words.items())
        }
    )


def by_name(names: Iterable[str]) -> list[Builder[dashboard.DashboardFieldConfigSourceOverrides]]:
    """The colours of lines of these names that are known."""
    known = {name: colour for one in names for name, colour in COLOURS.get(one, {}).items()}
    return [
        build.DashboardFieldConfigSourceOverrides()
        .matcher(dashboard.MatcherConfig(id_val="byName", options=name))
        .properties([dashboard.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})])
        for name, colour in known.items()
    ]
