"""Metrics and health over HTTP."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from node.metrics import Level, exposition
from node.page import worklist
from node.records import gatherings, notices, overview
from node.records.database import Records
from node.settings.scanners import Scanner
from node.spool import Spool


def make(
    *,
    records: Records,
    spool: Spool,
    metrics_folder: Path,
    ready: Callable[[], dict[str, str]],
    scanners: Sequence[Scanner] = (),
) -> FastAPI:
    """The page's application.

    ready:    what keeps the node from serving, by part; empty when it serves
    scanners: whose triage is measured apart
    """
    app = FastAPI(title="Imaging node", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(exposition(metrics_folder, levels(records, spool, scanners)), media_type=CONTENT_TYPE_LATEST)

    @app.get("/health/live")
    def live() -> JSONResponse:
        return JSONResponse({"live": True})

    @app.get("/health/ready")
    def readiness() -> JSONResponse:
        faults = ready()
        return JSONResponse({"ready": not faults, "faults": faults}, status_code=503 if faults else 200)

    @app.get("/health/alarms")
    def alarms() -> JSONResponse:
        """Verdicts that nobody acknowledged in time, by channel. Apart from readiness: the node itself serves."""
        with records.read() as connection:
            late = {channel: count for channel, count in notices.alarms(connection).items() if count}
        return JSONResponse({"alarms": late}, status_code=503 if late else 200)

    return app


def levels(records: Records, spool: Spool, scanners: Sequence[Scanner] = ()) -> list[Level]:
    """What stands in the records and on the disk at this moment."""
    with records.read() as connection:
        return [
            Level(name="sets", text="Complete sets by state", label="state", values=overview.sets(connection)),
            Level(name="jobs", text="Jobs by state", label="state", values=overview.jobs(connection)),
            Level(
                name="studies",
                text="Studies and rules that take several series, by state",
                label="state",
                values=gatherings.counts(connection),
            ),
            Level(
                name="series_open",
                text="Series that are not complete yet",
                label="",
                values={"": overview.open_series(connection)},
            ),
            Level(
                name="queue_depth",
                text="Jobs that wait or run, by stage they are in",
                label="stage",
                values=overview.queue(connection),
            ),
            Level(
                name="deliveries_waiting",
                text="Derived instances not yet confirmed",
                label="destination",
                values=overview.undelivered(connection),
            ),
            Level(
                name="quarantined_instances",
                text="Objects put aside because their UID was taken by another",
                label="",
                values={"": overview.quarantined(connection)},
            ),
            Level(
                name="disk_free_bytes", text="Free bytes on the spool's disk", label="", values={"": spool.free_bytes()}
            ),
            Level(
                name="spool_failed",
                text="1 if the spool's disk failed to write or to sync since the node was started, else 0",
                label="",
                values={"": float(spool.has_failed())},
            ),
            *worklist.levels(connection, scanners),
        ]
