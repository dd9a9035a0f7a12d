"""The report of a triage: Comprehensive 3D SR after TID 1500 (DICOM_SPEC 3.2), also where nothing could be analysed."""

import json
from collections.abc import Sequence
from typing import Any, Final

from pydicom.dataset import Dataset

from node.dicom import codes, template, triage_codes
from node.dicom.job import Job
from node.dicom.source_slices import Source
from node.errors import Refuse
from node.worklist.objects import checks
from node.worklist.objects.work import DOCUMENT, Work, concept, labelled, stand_in

FORM: Final = "report"
FILE_NAME: Final = "report.dcm"
CALIBRATED: Final = True
"""A score of `pipelines.triage.Assessment` is a calibrated probability; it may be told as one."""


def report(work: Work) -> bytes:
    """The whole file. Raises Refuse if it would break an assertion."""
    job = work.form(FORM)
    made = _constructed(work, job)
    uid = job.object_uid(work.study_uid, FORM)
    joined = labelled(job, work.headers, FORM, made, DOCUMENT)
    written = template.head(uid, triage_codes.REPORT.sop_class_uid) + template.data_set(joined)
    if wrong := checks.report(work, job, written):
        raise Refuse(f"The report breaks what it must hold: {'; '.join(wrong[:5])}.")
    return written


def tracking_uid(job: Job, study_uid: str) -> str:
    """Tracking Unique Identifier (112040, DCM) of the finding of a job."""
    return job.object_uid(study_uid, "tracking")


def tracking_identifier(job: Job) -> str:
    """Tracking Identifier (112039, DCM): the same for all that says something of this finding."""
    return f"{job.model} {job.model_version} {job.input_digest[:12]}"


def observer(job: Job) -> Any:
    """The node as device observer (TID 1004)."""
    from highdicom import sr

    return sr.ObserverContext(
        observer_type=sr.CodedConcept("121007", "DCM", "Device"),
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=codes.DEVICE_UID,
            name=job.station_name,
            manufacturer_name=codes.VENDOR,
            model_name=codes.PRODUCT,
            serial_number=job.device_serial,
        ),
    )


def parameters(work: Work) -> list[str]:
    """Algorithm Parameters (111002, DCM): threshold, weights, calibration and what the rule chose."""
    job, chosen = work.job, json.dumps(work.job.parameters, sort_keys=True, separators=(",", ":"))
    return [
        f"threshold={work.assessment.threshold:.6g}",
        f"weights=sha256:{job.weights_sha256}",
        f"score={'calibrated probability' if CALIBRATED else 'not calibrated'}",
        f"parameters={chosen if len(chosen) <= 512 else 'sha256:' + job.parameters_sha256}",
    ]


def references(sources: Sequence[Source]) -> list[tuple[Source, list[int]]]:
    """Each instance once, with its frames in the order of the slices; none of a single-frame object."""
    found: dict[str, tuple[Source, list[int]]] = {}
    for source in sources:
        frames = found.setdefault(source.sop_instance_uid, (source, []))[1]
        if source.frame:
            frames.append(source.frame)
    return list(found.values())


def _constructed(work: Work, job: Job) -> Dataset:
    from highdicom import sr

    assessed, named = work.assessment, references(work.headers)
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=tracking_uid(job, work.study_uid), identifier=tracking_identifier(job)
        ),
        finding_type=concept(triage_codes.ANOM_TRIAGE),
        algorithm_id=sr.AlgorithmIdentification(
            name=job.model,
            version=job.model_version,
            parameters=parameters(work),
            family=concept(triage_codes.ARTIFICIAL_INTELLIGENCE),
            manufacturer=codes.VENDOR,
        ),
        finding_sites=[sr.FindingSite(concept(triage_codes.HEAD))],
        measurements=_measurements(assessed.score),
        qualitative_evaluations=[
            sr.QualitativeEvaluation(
                concept(triage_codes.TRIAGE_FLAG), concept(triage_codes.FLAGS[assessed.flag.value])
            )
        ],
        source_images=[
            sr.SourceImageForMeasurementGroup(one.sop_class_uid, one.sop_instance_uid, frames or None)
            for one, frames in named
        ],
    )
    for reason in assessed.reasons:  # TID 1501 may be extended
        group[0].ContentSequence.append(
            sr.TextContentItem(concept(triage_codes.COMMENT), _ascii(reason), sr.RelationshipTypeValues.CONTAINS)
        )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer(job)),
        procedure_reported=concept(triage_codes.CT_HEAD),
        imaging_measurements=[group],
        title=concept(triage_codes.REPORT_TITLE),
    )
    made: Dataset = sr.Comprehensive3DSR(
        evidence=[stand_in(one) for one, _ in named],
        content=content,
        series_instance_uid="1.2.3",  # this and the next ones: see `labelled`
        series_number=1,
        sop_instance_uid="1.2.3.4",
        instance_number=1,
        manufacturer="-",
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    return made


def _measurements(score: float | None) -> list[Any]:
    """The score under our name; as a probability, too, where it is calibrated."""
    from highdicom import sr

    named = [triage_codes.ANOM_SCORE, *([triage_codes.PROBABILITY] if CALIBRATED else [])]
    unit = concept(triage_codes.NO_UNITS)
    return [sr.Measurement(concept(name), round(score, 6), unit) for name in named] if score is not None else []


def _ascii(text: str) -> str:
    """Ours are; what came from elsewhere must not break the character set of the source."""
    return text.encode("ascii", "replace").decode("ascii")
