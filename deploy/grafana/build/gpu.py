"""GPUs, as NVIDIA's dcgm-exporter shows them. Not tried: there was no exporter to try it with."""

from collections.abc import Iterator
from typing import Final

from deploy.grafana.build.colours import BLUE, ORANGE, SKY, VERMILION
from deploy.grafana.build.panels import Panel, figure, lines

TITLE: Final = "Imaging node: GPU (not tried)"
SAYS: Final = (
    "What NVIDIA's dcgm-exporter says of the GPUs, with the counters that it gives by default. NOT TRIED: written "
    "from its list of counters; nobody has seen these panels with data."
)
_NOT_TRIED: Final = " Not tried with a real exporter."


def rows() -> Iterator[tuple[str, list[Panel]]]:
    """The dashboard's rows: a title, and its panels."""
    yield "", [*_panels()]


def _panels() -> Iterator[Panel]:
    yield figure(
        "Faults (XID)",
        "The last error code of the driver. Good: 0. Other codes stand in NVIDIA's list of XID errors." + _NOT_TRIED,
        {"GPU {{gpu}}": "max by (gpu) (DCGM_FI_DEV_XID_ERRORS)"},
        steps=((0, SKY), (1, VERMILION)),
        decimals=0,
        width=5,
        height=8,
        empty="no exporter",
    )
    yield lines(
        "Busy",
        "Share of time in which the GPU computed. Good: any; at 100 while series wait, it is the narrow place."
        + _NOT_TRIED,
        {"GPU {{gpu}}": "max by (gpu) (DCGM_FI_DEV_GPU_UTIL)"},
        unit="percent",
        most=100,
        width=10,
    )
    yield lines(
        "Memory",
        "Used, and all of it. Good: some left; an engine that does not get its memory fails." + _NOT_TRIED,
        {
            "used, GPU {{gpu}}": "max by (gpu) (DCGM_FI_DEV_FB_USED)",
            "all, GPU {{gpu}}": "max by (gpu) (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE)",
        },
        unit="mbytes",
        shade=BLUE,
        width=9,
    )
    yield lines(
        "Temperature",
        "Good: below 80 °C; above its limit the GPU becomes slow." + _NOT_TRIED,
        {"GPU {{gpu}}": "max by (gpu) (DCGM_FI_DEV_GPU_TEMP)"},
        unit="celsius",
        limits=((80, ORANGE), (90, VERMILION)),
    )
    yield lines(
        "Power",
        "Good: below the board's limit." + _NOT_TRIED,
        {"GPU {{gpu}}": "max by (gpu) (DCGM_FI_DEV_POWER_USAGE)"},
        unit="watt",
    )
