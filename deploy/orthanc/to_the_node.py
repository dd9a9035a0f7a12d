"""Orthanc's side of an imaging node: original series that a site chose go to it, and what comes back is labelled.

Orthanc's Python plug-in loads it (PythonScript in orthanc.json, whose table ImagingNode holds the settings). It needs
nothing but Python's standard library, and runs with Orthanc 1.10.1 and newer. A wrong setting keeps Orthanc from
starting. GET /imaging-node says how it stands; POST /imaging-node/SERIES sends a series once more (Orthanc's id).
"""

import json
from typing import Any

import orthanc  # given by the plug-in
from beside.settings import settings_of
from beside.worker import Worker

WORKER = Worker(settings_of(json.loads(orthanc.GetConfiguration())))


def changed(change: int, level: int, resource: str) -> None:
    """Orthanc tells of a change: begin, end, or look at once."""
    kinds = orthanc.ChangeType
    if change == kinds.ORTHANC_STARTED:
        WORKER.start()
    elif change == kinds.ORTHANC_STOPPED:
        WORKER.end()
    elif change in (kinds.STABLE_SERIES, kinds.JOB_SUCCESS, kinds.JOB_FAILURE):
        WORKER.wake.set()


def asked(output: Any, uri: str, **request: Any) -> None:
    """An answer of the REST interface."""
    series_id = request["groups"][0] if request.get("groups") else ""
    if series_id and request["method"] == "POST":
        WORKER.send_again(series_id)
        output.AnswerBuffer("{}", "application/json")
    elif not series_id and request["method"] == "GET":
        output.AnswerBuffer(json.dumps(WORKER.stands()), "application/json")
    else:
        output.SendMethodNotAllowed("POST" if series_id else "GET")


orthanc.RegisterOnChangeCallback(changed)
orthanc.RegisterRestCallback("/imaging-node", asked)
orthanc.RegisterRestCallback("/imaging-node/([0-9a-f-]{44})", asked)
