"""The machine: processes, processor, memory, disk, and what ends some day."""

from collections.abc import Iterator
from typing import Final

from deploy.grafana.build.colours import FLAWS, GREY, ORANGE, SKY, UP, VERMILION
from deploy.grafana.build.panels import Panel, figure, lines, listing, ranking
from deploy.grafana.build.queries import INSTANCE, grown, least, most, of, per_second, total

TITLE: Final = "Imaging node: machine"
SAYS: Final = "Processes of the node, what they take of processor, memory and disk; certificates and backups."
_DAY: Final = 24 * 3600


def rows() -> Iterator[tuple[str, list[Panel]]]:
    """The dashboard's rows: a title, and its panels."""
    yield "Processes", [*_processes()]
    yield "Disk", [*_disk()]
    yield "What ends some day", [*_ends()]


def _processes() -> Iterator[Panel]:
    yield figure(
        "Parts",
        "Whether each part of the node gave a sign of life. Good: up. Run book, ImagingNodeNotReady.",
        {"{{part}}": least(of("part_up"), "part")},
        words=UP,
        width=5,
        height=8,
        empty="no sign of life",
    )
    yield lines(
        "Processor, by part",
        "Cores that each part keeps busy; the worker's children decode, check and, on the CPU, infer. Good: below the "
        "number of cores.",
        {"{{part}}": per_second(of("process_cpu_seconds_total"), "part")},
        width=10,
    )
    yield lines(
        "Memory, by part",
        "Resident bytes. Good: level between jobs. Growth that never ends, day by day, is a fault of the node: tell "
        "its makers.",
        {"{{part}}": total(of("process_resident_bytes"), "part")},
        unit="bytes",
        width=9,
    )
    yield lines(
        "Starts in an hour, by part",
        "One of each when the node is started. More: a part died and was started again. Good: 0. Run book, "
        "ImagingNodeRestarting.",
        {"{{part}}": grown(of("process_starts_total"), "part")},
        bars=True,
        every="1h",
        width=10,
    )
    yield listing(
        "Version",
        "Of the program, by node. Good: the same everywhere, but while one is being upgraded.",
        {"Nodes": (total(of("build_info"), "instance", "version"), "short")},
        labels={"instance": "Node", "version": "Version"},
        width=7,
    )
    yield lines(
        "Seconds of a scrape",
        "How long the page takes to count up its figures. Good: below 1; above 5 the records are large or the disk is "
        "slow.",
        {"{{instance}}": most(f'scrape_duration_seconds{{job="imaging-node", {INSTANCE}}}', "instance")},
        unit="s",
        limits=((5, ORANGE),),
        width=7,
    )


def _disk() -> Iterator[Panel]:
    free, reserve, whole = (
        least(of(name), "instance") for name in ("disk_free_bytes", "disk_reserve_bytes", "disk_total_bytes")
    )
    yield figure(
        "Free, above the reserve",
        "Room on the spool's disk before senders are refused (A700). Good: above 20 GB and more than a day's series. "
        "Run book, ImagingNodeDiskLow.",
        {"{{instance}}": f"{free} - {reserve}"},
        unit="bytes",
        steps=((0, VERMILION), (5e9, ORANGE), (20e9, SKY)),
        width=5,
        height=8,
    )
    yield lines(
        "Disk",
        "Free bytes, all of it, and the reserve below which nothing is taken. Good: free stays far above the reserve. "
        "Run book, ImagingNodeDiskFilling.",
        {"free {{instance}}": free, "reserve {{instance}}": reserve, "whole {{instance}}": whole},
        unit="bytes",
        width=10,
    )
    yield lines(
        "Removed after `node.keep_days`, per hour",
        "Bytes of received files that were kept long enough. Good: about what came in so many days ago; 0 for days "
        "while the disk fills: jobs that are held, failed or dead keep their files.",
        {"bytes": grown(of("purged_bytes_total"))},
        unit="bytes",
        shade=GREY,
        width=9,
    )
    yield figure(
        "Spool's disk failed",
        "1: it did not write or sync, nothing is taken until the node was started again. Good: 0. Run book, "
        "ImagingNodeSpoolFailed.",
        {"{{instance}}": most(of("spool_failed"), "instance")},
        steps=FLAWS,
        words={0: ("no", SKY), 1: ("FAILED", VERMILION)},
        width=5,
        height=6,
    )
    yield figure(
        "Put aside",
        "Objects whose UID another one has already. Good: 0. Two scanners with one UID, or a sender that changes "
        "images: run book, ImagingNodeQuarantined.",
        {"{{instance}}": total(of("quarantined_instances"), "instance")},
        steps=FLAWS,
        decimals=0,
        width=5,
        height=6,
    )
    yield lines(
        "Files removed, per hour",
        "Received files removed after `node.keep_days`. Good: about what came in so many days ago.",
        {"files": grown(of("instances_purged_total"))},
        shade=GREY,
        width=14,
        height=6,
    )


def _ends() -> Iterator[Panel]:
    yield ranking(
        "Certificates end in",
        "Of the node's own certificates. Good: more than 3 weeks. Run book, ImagingNodeCertificateExpires.",
        f"{least(of('certificate_expires_timestamp_seconds'), 'instance', 'use')} - time()",
        "{{instance}} {{use}}",
        unit="s",
        steps=((0, VERMILION), (2 * _DAY, ORANGE), (21 * _DAY, SKY)),
        empty="no certificate: no TLS",
        width=12,
        height=6,
    )
    yield ranking(
        "Last backup, ago",
        "Since `imaging-node backup` last succeeded. Good: below 2 days. Run book, ImagingNodeBackupOld.",
        f"time() - ({most(of('backup_last_success_timestamp_seconds'), 'instance')} > 0)",
        "{{instance}}",
        unit="s",
        steps=((0, SKY), (1.5 * _DAY, ORANGE), (3 * _DAY, VERMILION)),
        empty="never",
        width=12,
        height=6,
    )
