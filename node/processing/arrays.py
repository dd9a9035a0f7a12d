"""The arrays of a job between its stages: a folder of its own on disk, not synced, gone when the job has ended."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from node.child import Child
from node.errors import Refuse
from node.prepared import Prepared
from node.processing.parts import SetPart
from node.spool import Spool
from node.stages import prepare as preparing
from pipelines.role import Registered
from pipelines.volume import Volume

_THREADS: Final = 1  # of a child that registers: one for each series, and its search uses no more


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Decodes the slices of a job into its folder, and again when a restart of the machine took them away.

    registrar: makes the child of one registration; it is closed behind it, since what it holds is large
    """

    spool: Spool
    child: Child
    registrar: Callable[[], Child] | None = field(default=None)

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

    def register(
        self, job_id: str, grid: Prepared, moving: Prepared, role: str, *, same_frame: bool, believed: Registered
    ) -> Prepared:
        """Bring a decoded series to the grid of another one.

        grid, moving: as `decode` gives them
        same_frame:   both name one frame of reference
        returns:      `moving` with its voxels on the grid and the figures of the motion
        raises:       NotRegistered, Refuse
        """
        asked = {"same_frame": same_frame, "believed": asdict(believed)}
        placed = self._bring(job_id, grid, moving, role, asked)
        return self._on_grid(job_id, grid, moving, role, {**placed, "same_frame": same_frame})

    def volume(
        self,
        job_id: str,
        prepared: Prepared,
        part: Callable[[], SetPart],
        role: str = "",
        *,
        grid: Prepared | None = None,
    ) -> Volume:
        """A volume of a job, mapped from disk.

        part:   asked for only when the files are gone
        grid:   on which a series lies that was brought to it; its files must be there
        raises: Refuse if the received files decode to something else by now, or come to lie elsewhere
        """
        volume = preparing.load(prepared)
        if volume is None:  # arrays between stages are not synced: decode again after a restart of the machine
            again = self.decode(job_id, part(), role)
            if again.pixel_sha256 == prepared.pixel_sha256 and prepared.placed is not None and grid is not None:
                again = self._placed_again(job_id, grid, again, role, prepared.placed)
            if again.pixel_sha256 != prepared.pixel_sha256 or (volume := preparing.load(again)) is None:
                raise Refuse("The received files no longer decode to what they did.", fix="Check the disk.")
        return volume

    def _placed_again(
        self, job_id: str, grid: Prepared, moving: Prepared, role: str, placed: Mapping[str, Any]
    ) -> Prepared:
        """The motion that was found is used again, and has to give the same bytes."""
        sha256 = self._bring(job_id, grid, moving, role, {"motion": placed["motion"]})["sha256"]
        if sha256 != placed["sha256"]:
            raise Refuse(
                f"The series for {role} no longer comes to lie on the grid as it did.",
                fix="Another version of SimpleITK may be installed; replay the series.",
            )
        return self._on_grid(job_id, grid, moving, role, placed)

    def _bring(
        self, job_id: str, grid: Prepared, moving: Prepared, role: str, asked: Mapping[str, Any]
    ) -> dict[str, Any]:
        if self.registrar is None:
            raise Refuse("This process registers no series.")
        voxels, padding = self._placed_files(job_id, role)
        request = {
            "role": role,
            "fixed": {"voxels": grid.voxels, "padding": grid.padding, "affine": grid.affine},
            "moving": {"voxels": moving.voxels, "padding": moving.padding, "affine": moving.affine},
            "threads": _THREADS,
            "voxels": str(voxels),
            "padding": str(padding),
            **asked,
        }
        with closing(self.registrar()) as child:
            return child.call("node.registering:bring", request)

    def _on_grid(self, job_id: str, grid: Prepared, moving: Prepared, role: str, placed: Mapping[str, Any]) -> Prepared:
        voxels, padding = self._placed_files(job_id, role)
        for path in (moving.voxels, moving.padding):
            Path(path).unlink(missing_ok=True)  # nobody asks for the series on its own slices any more
        return replace(moving, voxels=str(voxels), padding=str(padding), affine=grid.affine, placed=placed)

    def _placed_files(self, job_id: str, role: str) -> tuple[Path, Path]:
        folder = self.folder(job_id) / role
        return folder / "placed.npy", folder / "placed-padding.npy"
