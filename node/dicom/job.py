"""The job behind a derived series, as the flow persisted it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from node.dicom import uids
from node.dicom.codes import Code
from node.errors import Refuse

_MAY_BE_ABSENT: Final = frozenset(("factor", "note", "others"))
Named = tuple[str, str, int]
"""A slice by name: SOP class, SOP Instance UID, and the frame, 0 of a single-frame object."""


@dataclass(frozen=True, kw_only=True)
class Other:
    """A series of another role, which has its part in what a job made.

    slices:    in geometric order of its own
    reach:     of each slice of the grid: [first, last) of `slices` that it was made of; empty where none lies there
    resampled: whether its voxels were brought to the grid, so that no slice of it stands where it stood
    """

    role: str
    series_uid: str
    slices: tuple[Named, ...]
    reach: tuple[tuple[int, int], ...]
    resampled: bool

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Self:
        """Read it from a request; without a reach it lies on the grid, slice for slice.

        raises: KeyError, TypeError or ValueError if something is missing, or points nowhere
        """
        slices = tuple((str(one), str(uid), int(frame)) for one, uid, frame in request["slices"])
        reach = request["reach"]
        if reach is None:
            reach = [(at, at + 1) for at in range(len(slices))]
        found = tuple((int(first), int(last)) for first, last in reach)
        if not all(0 <= first <= last <= len(slices) for first, last in found):
            raise ValueError("a reach beyond the slices")
        return cls(
            role=str(request["role"]),
            series_uid=str(request["series_uid"]),
            slices=slices,
            reach=found,
            resampled=bool(request["resampled"]),
        )


@dataclass(frozen=True, kw_only=True)
class Job:
    """What made a series, as it was persisted with the job; nothing here is read from a clock."""

    kind: str
    image_type: tuple[str, ...]
    marker: str
    synthetic: bool
    derivation: Code
    purpose: Code
    operation: str
    elements: Mapping[str, str]  # keyword -> text; they replace what the source says
    z_support: int
    model: str
    model_version: str
    weights_sha256: str
    parameters: Mapping[str, Any]
    parameters_sha256: str
    input_digest: str
    generation: int
    started: datetime  # aware; the wall clock of its own offset is written unless the source names another one
    series_number: int
    checks: int
    cautions: tuple[str, ...]
    node_version: str
    station_name: str
    device_serial: str
    factor: int = 1  # images for one source slice
    note: str = ""  # sentences on the network that its images owe their reader; end of Derivation Description
    others: tuple[Other, ...] = ()

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Self:
        """Read the job of a request.

        raises: Refuse if something is missing or is not ASCII text
        """
        try:
            plain = {name: request[name] for name in cls.__dataclass_fields__ if name not in _MAY_BE_ABSENT}
            plain["factor"] = int(request.get("factor", 1))
            plain["note"] = str(request.get("note", ""))
            plain["others"] = tuple(Other.of(one) for one in request.get("others", ()))
            plain["image_type"] = tuple(request["image_type"])
            plain["derivation"] = Code(**request["derivation"])
            plain["purpose"] = Code(**request["purpose"])
            plain["cautions"] = tuple(request["cautions"])
            plain["elements"] = dict(request["elements"])
            plain["started"] = datetime.fromisoformat(request["started"])
        except (KeyError, TypeError, ValueError) as error:
            raise Refuse(f"The job to derive from is incomplete ({type(error).__name__}: {error}).") from error
        job = cls(**plain)
        if job.started.tzinfo is None:
            raise Refuse("The start of the job has no UTC offset.", fix="Persist it with one.")
        if not str(plain | {"parameters": ""}).isascii():
            raise Refuse("A text of the job is not ASCII, so it has no place in every character set.")
        return job

    def series_uid(self, study_uid: str, form: str = "classic") -> str:
        """Series Instance UID of what this job makes; each form has a series of its own."""
        return uids.form_series_uid(uids.series_uid(kind=self.kind, study_uid=study_uid, **self._identity()), form)

    def instance_uid(self, study_uid: str, index: int) -> str:
        """SOP Instance UID of single-frame image `index`, 1..N."""
        return self._instance_uid(study_uid, role="image", index=index)

    def enhanced_uid(self, study_uid: str) -> str:
        """SOP Instance UID of the one multi-frame object that holds all images."""
        return self._instance_uid(study_uid, role="enhanced", index=1)

    def dimension_uid(self, study_uid: str) -> str:
        """Dimension Organization UID (0020,9164) of that object."""
        return self._instance_uid(study_uid, role="dimensions", index=1)

    def map_uid(self, study_uid: str) -> str:
        """SOP Instance UID of the map beside the images."""
        return self._instance_uid(study_uid, role="map", index=1)

    def map_dimension_uid(self, study_uid: str) -> str:
        """Dimension Organization UID (0020,9164) of the map."""
        return self._instance_uid(study_uid, role="map dimensions", index=1)

    def object_uid(self, study_uid: str, form: str, index: int = 1) -> str:
        """UID of object `index`, 1..N, of a form that is neither images nor their map, or of a part of one."""
        return self._instance_uid(study_uid, role=form, index=index)

    def _instance_uid(self, study_uid: str, *, role: str, index: int) -> str:
        return uids.instance_uid(kind=self.kind, study_uid=study_uid, role=role, index=index, **self._identity())

    def _identity(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "version": self.model_version,
            "weights_sha256": self.weights_sha256,
            "parameters_sha256": self.parameters_sha256,
            "input_digest": self.input_digest,
            "generation": self.generation,
        }
