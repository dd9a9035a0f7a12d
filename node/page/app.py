"""Metrics and health over HTTP."""

from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from node.metrics import exposition
from node.page.levels import Levels
from node.records import notices
from node.records.database import Records


def make(
    *,
    records: Records,
    levels: Levels,
    metrics_folder: Path,
    ready: Callable[[], dict[str, str]],
) -> FastAPI:
    """The page's application.

    levels: what is read at every scrape
    ready:  what keeps the node from serving, by part; empty when it serves
    """
    app = FastAPI(title="Imaging node", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(exposition(metrics_folder, levels.read()), media_type=CONTENT_TYPE_LATEST)

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
