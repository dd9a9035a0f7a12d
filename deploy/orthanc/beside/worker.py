"""The one thread that looks at Orthanc's changes and sends.

Every new instance opens its series; a series closes when it is stable and was sent, labelled or left out. Where reading
of the changes stands is kept in Orthanc's database and never passes a series that is open, so neither a restart of
Orthanc nor a node that is away for days loses one. That a series was sent stands in its metadata: none is sent twice.
"""

import hashlib
import json
import threading
import time
from dataclasses import dataclass
from typing import Any

import orthanc  # given by the plug-in

from beside.headers import chosen, made_by_node, original
from beside.rest import Marks, get, now, post
from beside.results import Results
from beside.settings import SENT, Settings

STATE = 4098  # global property of Orthanc's database
PAGE = 1000  # changes in one answer
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 3600.0  # of a series that fails while others get through
BROKEN_PAUSE_S = 60.0  # of a series that Orthanc itself cannot read


@dataclass(kw_only=True)
class Series:
    """A series that is not dealt with yet."""

    since: int  # its first change
    wanted: bool = False  # chosen, waits to be sent
    afresh: bool = False  # whatever was sent before
    job: str = ""  # of Orthanc's job engine
    carries: str = ""  # what the job carries, as `content` says it
    failures: int = 0  # while others got through
    failed_at: int = -1  # how many had got through at its last failure
    not_before: float = 0.0  # monotonic, s


class Worker:
    """Sends and has results labelled, in a thread of its own between `start` and `end`."""

    def __init__(self, settings: Settings) -> None:
        self.wake = threading.Event()
        self._settings = settings
        self._stop = threading.Event()
        self._open: dict[str, Series] = {}
        self._again: list[str] = []  # series that a person wants to be sent once more
        self._at = -1  # the last change that was read
        self._saved = ""
        self._job_of = ""  # the series that is on its way
        self._pause_s = self._not_before = 0.0
        self._sent = 0
        self._trouble = ""
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="imaging-node", daemon=True)

    def start(self) -> None:
        """Begin where the last run of Orthanc ended."""
        self._marks = Marks()
        self._results = Results(self._marks, no_result_hours=self._settings.no_result_hours)
        self._thread.start()

    def end(self) -> None:
        """Return when the thread has ended, or after 10 s."""
        self._stop.set()
        self.wake.set()
        self._thread.join(10)

    def send_again(self, series_id: str) -> None:
        """Send a series, chosen or not, whether it was sent or not."""
        self._again.append(series_id)
        self.wake.set()

    def stands(self) -> dict[str, Any]:
        """How it stands: what waits, what was done since Orthanc was started, what hinders."""
        opened = list(self._open.values())
        return {
            "way": self._settings.way,
            "open": len(opened),
            "waiting": sum(one.wanted for one in opened),
            "sent": self._sent,
            "labelled": self._results.labelled if self._at >= 0 else 0,
            "trouble": self._trouble,
        }

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._turn()
                if not self._pause_s and all(one.not_before <= time.monotonic() for one in self._open.values()):
                    self._trouble = ""
            except Exception as error:  # noqa: BLE001  one answer must not end it; the same is tried again
                self._hindered(f"{type(error).__name__}: {error}")
            self.wake.wait(self._settings.every_seconds)
            self.wake.clear()

    def _hindered(self, text: str) -> None:
        if text != self._trouble:
            orthanc.LogWarning(f"imaging node: {text}")
        self._trouble = text

    def _turn(self) -> None:
        if self._at < 0:
            self._begin()
        while self._again:
            one = self._open.setdefault(self._again.pop(), Series(since=self._at + 1))
            one.wanted = one.afresh = True
            one.not_before = 0.0
        while not self._read() and not self._stop.is_set():
            pass
        for series_id, one in list(self._open.items()):
            if self._stop.is_set():
                return
            try:
                self._look(series_id, one)
            except Exception as error:  # noqa: BLE001  the others go on
                one.not_before = time.monotonic() + BROKEN_PAUSE_S
                self._hindered(f"a series cannot be dealt with now ({type(error).__name__}: {error})")
        self._results.nothing_came()
        self._save()

    def _begin(self) -> None:
        saved = json.loads(orthanc.GetGlobalProperty(STATE, "") or "{}")
        last = int(get("/changes?last")["Last"])
        at = int(saved.get("at", 0 if self._settings.history else last))
        self._results.resume(saved.get("waits", {}))
        self._at = at if at <= last else 0  # an index that was made anew counts from the start

    def _save(self) -> None:
        at = min([self._at, *(one.since - 1 for one in self._open.values())])
        text = json.dumps({"at": max(at, 0), "waits": self._results.waits})
        if text != self._saved:
            orthanc.SetGlobalProperty(STATE, text)
            self._saved = text

    def _read(self) -> bool:
        """Open the series of the next changes. Returns whether those were all."""
        news = get(f"/changes?since={self._at}&limit={PAGE}")
        for change in news["Changes"]:
            series_id = change["ID"] if change["ChangeType"] in ("NewSeries", "StableSeries") else ""
            if change["ChangeType"] == "NewInstance":
                series_id = (get(f"/instances/{change['ID']}") or {}).get("ParentSeries", "")
            if series_id:
                self._open.setdefault(series_id, Series(since=int(change["Seq"])))
        self._at = max(self._at, int(news["Last"]))
        return bool(news["Done"])

    def _look(self, series_id: str, one: Series) -> None:
        """Take one series as far as it goes now; close it when it is dealt with."""
        if time.monotonic() < one.not_before:
            return
        if one.job:
            self._follow(series_id, one)
        elif one.wanted and (self._job_of or time.monotonic() < self._not_before):
            return
        elif (info := get(f"/series/{series_id}")) is None:  # deleted
            del self._open[series_id]
        elif not info["IsStable"] or time.monotonic() < self._began + self._settings.stable_age:
            return  # after a restart Orthanc calls everything stable, also what a sender is about to go on with
        elif one.wanted or self._is_to_be_sent(series_id, info):
            one.wanted = True
            self._send(series_id, info, one)
        else:
            del self._open[series_id]

    def _is_to_be_sent(self, series_id: str, info: dict[str, Any]) -> bool:
        """Whether a stable series is. One that a node made is labelled."""
        ends = list(dict.fromkeys([info["Instances"][0], info["Instances"][-1]]))
        headers = [get(f"/instances/{one}/tags?simplify") or {} for one in ends]
        if any(made_by_node(header) for header in headers):
            self._results.label(series_id, info["ParentStudy"], headers[0])
            return False
        return (
            self._settings.way != "off"
            and all(original(header) and chosen(header, self._settings.choose) for header in headers)
            and not any(self._came_from_node(one) for one in ends)
            and self._was_sent(series_id) != content(info)
        )

    def _was_sent(self, series_id: str) -> str:
        try:
            return str(json.loads(self._marks.metadata("series", series_id, SENT))["content"])
        except (ValueError, KeyError, TypeError):  # never sent, or somebody wrote something else there
            return ""

    def _came_from_node(self, instance_id: str) -> bool:
        origin = get(f"/instances/{instance_id}/metadata?expand") or {}
        node = get(f"/modalities/{self._settings.modality}/configuration") or {}
        title, user = str(origin.get("RemoteAET", "")), str(origin.get("HttpUsername", ""))
        return (bool(title) and title.upper() == str(node.get("AET", "")).upper()) or user in self._settings.users

    def _send(self, series_id: str, info: dict[str, Any], one: Series) -> None:
        one.carries = content(info)
        if self._settings.way == "rest":
            self._done(series_id, one)
            return
        running = "" if one.afresh else _job_from_before(series_id, len(info["Instances"]))
        one.job = running or self._new_job(series_id)
        self._job_of = series_id

    def _new_job(self, series_id: str) -> str:
        asked: dict[str, Any] = {"Resources": [series_id], "Synchronous": False}
        if self._settings.way == "dicom":
            return str(post(f"/modalities/{self._settings.modality}/store", asked | {"Permissive": False})["ID"])
        return str(post(f"/dicom-web/servers/{self._settings.server}/stow", asked)["ID"])

    def _follow(self, series_id: str, one: Series) -> None:
        job = get(f"/jobs/{one.job}")
        state = "Failure" if job is None else job["State"]
        if state not in ("Success", "Failure", "Paused"):
            return
        one.job = self._job_of = ""
        if state == "Success":
            self._pause_s = self._not_before = 0.0
            self._done(series_id, one)
            self.wake.set()  # for the next one
            return
        if one.failed_at != self._sent:  # it is this series, perhaps, not the node
            one.failures, one.failed_at = one.failures + 1, self._sent
        first_s = min(FIRST_PAUSE_S, self._settings.longest_pause_seconds)
        self._pause_s = min(self._pause_s * 2 or first_s, self._settings.longest_pause_seconds)
        self._not_before = time.monotonic() + self._pause_s
        one.not_before = time.monotonic() + min(first_s * 2 ** (one.failures - 1), LONGEST_PAUSE_S)
        why = "" if job is None else job["ErrorDetails"] or job["Content"].get("FunctionErrorDescription", "")
        self._hindered(f"a series was not sent ({why or state}); it is tried again")
        self._open[series_id] = self._open.pop(series_id)  # others first

    def _done(self, series_id: str, one: Series) -> None:
        said = {"at": now(), "way": self._settings.way, "content": one.carries}
        self._marks.write("series", series_id, SENT, json.dumps(said))
        self._results.wait_for(series_id)
        self._sent += 1
        info = get(f"/series/{series_id}")
        if info is None or content(info) == one.carries:
            del self._open[series_id]
        else:  # slices came meanwhile: it is looked at anew
            self._open[series_id] = Series(since=one.since)


def content(info: dict[str, Any]) -> str:
    """What a series has: number of instances and a digest of their ids."""
    digest = hashlib.sha256("\n".join(sorted(info["Instances"])).encode()).hexdigest()
    return f"{len(info['Instances'])} {digest[:20]}"


def _job_from_before(series_id: str, instances: int) -> str:
    """A job that Orthanc took up again after a restart, or that ended just before; "" without one.

    Jobs of STOW-RS are not kept by its plug-in.
    """
    for job in get("/jobs?expand"):
        if job["Type"] == "DicomModalityStore" and job["Content"].get("ParentResources") == [series_id]:
            lives = job["State"] in ("Pending", "Running", "Retry", "Success")
            if lives and job["Content"].get("InstancesCount") == instances:
                return str(job["ID"])
    return ""
