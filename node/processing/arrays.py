"""The arrays of a job between its stages: a folder of its own on disk, not synced, gone when the job has ended."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from node.child import Child
from node.errors import Refuse
from node.prepared import Prepared
from node.processing.parts import SetPart
from node.spool import Spool
from node.stages import prepare as preparing
from pipelines.volume import Volume


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Decodes the slices of a job into its folder, and again when a restart of the machine took them away."""

    spool: Spool
    child: Child

    def folder(self, job_id: str) -> Path:
        return self.spool.work / job_id

    def clear(self, job_id: str) -> None:
        """Remove what a job left; nothing happens if there is nothing."""
        shutil.rmtree(self.folder(job_id), ignore_errors=True)

    def decode(self, job_id: str, part: SetPart, role: str = "", *, ready: Mapping[str, str] | None = None) -> Prepared:
        """One volume of all slices of a part. Raises Refuse if the pixels are not what the headers promise.

        ready: received file -> file of its slice, decoded ahead
        """
        slices = [(one.path, one.frame) for one in part.slices]
        return preparing.prepare(self.child, slices, self.folder(job_id) / role, ready=ready)

    def volume(self, job_id: str, prepared: Prepared, part: Callable[[], SetPart], role: str = "") -> Volume:
        """A volume of a job, mapped from disk.

        part:   asked for only when the files are gone
        raises: Refuse if the received files decode to something else by now
        """
        volume = preparing.load(prepared)
        if volume is None:  # arrays between stages are not synced: decode again after a restart of the machine
            again = self.decode(job_id, part(), role)
            if again.pixel_sha256 != prepared.pixel_sha256 or (volume := preparing.load(again)) is None:
                raise Refuse("The received files no longer decode to what they did.", fix="Check the disk.")
        return volume
