"""What a restore tells the person who runs it: what is there, what is in doubt, and how to get what came since."""

import time
from pathlib import Path
from typing import Any

from node.backup import files
from node.backup.manifest import SETTINGS
from node.backup.restoring import Restored
from node.settings import Settings


def report(done: Restored, settings: Settings, settings_file: Path) -> dict[str, Any]:
    """As JSON. Times: seconds since the epoch."""
    found, doubt = done.found, done.doubt
    same = found.files[SETTINGS] == files.digest(settings_file)
    return {
        "folder": str(done.folder),
        "state": str(settings.node.state.absolute()),
        "taken_at": found.taken_at,
        "instances": found.rows.get("instances", 0),
        "jobs": doubt.jobs_by_state,
        "begun_anew": doubt.jobs,
        "objects_in_doubt": doubt.objects,
        "notices_held": doubt.notices,
        "events_dropped": doubt.events,
        "series_cut_off": doubt.series,
        "missing": list(found.missing),
        "aside": None if done.aside is None else str(done.aside),
        "engines": done.engines,
        "settings_changed": not same,
        "keys": found.keys,
        "sources": [one.name for one in settings.sources],
        "archives": [one.name for one in settings.destinations if one.kind == "dicom"],
        "next": _next(done, settings, same=same),
    }


def told(found: dict[str, Any]) -> str:
    """The same for a terminal."""
    at = _time(found["taken_at"])
    jobs = ", ".join(f"{count} {state}" for state, count in sorted(found["jobs"].items())) or "none"
    lines = [
        f"Restored {found['state']} from {found['folder']}: what the node held at {at}.",
        f"{found['instances']} instances; jobs: {jobs}; {found['begun_anew']} of them begin anew.",
    ]
    if found["aside"]:
        lines.append(f"What was there lies in {found['aside']}; remove it when nothing of it is needed.")
    lines += ["", "Next:", *(f"{number}. {text}" for number, text in enumerate(found["next"], start=1))]
    return "\n".join(lines)


def _next(done: Restored, settings: Settings, *, same: bool) -> list[str]:
    found, doubt = done.found, done.doubt
    at = _time(found.taken_at)
    lines = []
    if not same:
        lines.append(f"The settings are not those of the backup ({done.folder / SETTINGS}): compare them.")
    if done.engines:
        lines.append(f"Engines: {done.engines}.")
    if found.keys:
        lines.append(f"Keys lie in {done.folder / 'keys'}; put back what is missing: {', '.join(found.keys.values())}.")
    if found.missing:
        lines.append(f"{len(found.missing)} files were missing in the node at the backup already: see its manifest.")
    lines.append("Start the node: `systemctl start imaging-node`, then `imaging-node check`.")
    if doubt.objects:
        many = ", ".join(f"{count} objects for {name}" for name, count in sorted(doubt.objects.items()))
        lines.append(
            f"{many} were not confirmed at {at} and may have arrived since: the node asks each destination before it "
            "sends. Where one cannot be asked the job becomes a dead letter: look there, then `imaging-node replay` or "
            "`imaging-node discard`."
        )
    if doubt.notices:
        many = ", ".join(f"{count} for {name}" for name, count in sorted(doubt.notices.items()))
        lines.append(
            f"Flags that were not acknowledged wait for a person ({many}): `imaging-node flags` lists them. Ask the "
            "receiver; then `imaging-node replay JOB` tells it, `imaging-node flags --known JOB --by NAME` ends it."
        )
    if doubt.series:
        lines.append(
            f"Series that were coming in: have them sent again, or replay them as they are: {', '.join(doubt.series)}."
        )
    lines.append(
        f"The node does not know what came after {at}. Have senders send their studies since then once more: what is "
        "here already is answered with Success and not made twice; what a destination has is not sent again."
    )
    if settings.sources:
        lines.append(f"{', '.join(one.name for one in settings.sources)}: read on from there by the node itself.")
    archives = [one.name for one in settings.destinations if one.kind == "dicom"]
    if archives:
        lines.append(
            f"From an archive that has them: `imaging-node fetch --from {archives[0]} --study UID`, for each study of "
            f"StudyDate {time.strftime('%Y%m%d', time.localtime(found.taken_at))} and later."
        )
    if settings.worklist.ups.enabled:
        lines.append(
            "Claims and ends of workitems since then are lost: studies that were read since stand in the list again. "
            "Subscribers are told that the list begins cold; those who subscribed since then must do so again."
        )
    lines.append("Decisions since then (release, discard, withdraw, pause) are not known: take them again.")
    return lines


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
