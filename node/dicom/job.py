"""The job behind a derived series, as the flow persisted it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from node.dicom import uids
from node.dicom.codes import Code
from node.errors import Refuse


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
    # Of the series of other roles: Series Instance UID, and (SOP class, SOP Instance UID) of its slices.
    others: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Self:
        """Read the job of a request.

        raises: Refuse if something is missing or is not ASCII text
        """
        try:
            plain = {name: request[name] for name in cls.__dataclass_fields__ if name != "others"}
            plain["others"] = tuple(
                (series_uid, tuple((one, uid) for one, uid in slices))
                for series_uid, slices in request.get("others", ())
            )
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
