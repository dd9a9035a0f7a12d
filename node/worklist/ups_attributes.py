"""The attributes of a Unified Procedure Step: PS3.4 table CC.2.5-3, as the SCP has to keep it."""

from dataclasses import dataclass
from typing import Final

from pydicom.datadict import dictionary_VR

from node.dicom.json_model import key


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """One row of the table.

    create:  type at creation: 1, 2, 3; E: present and empty, whatever the SCU sends
    set:     type in an N-SET: 1 (if present, with a value), 2 or 3 (may be empty), - (not allowed)
    matches: whether it is matched in a C-FIND
    """

    keyword: str
    tag: str
    vr: str
    create: str
    set: str
    matches: bool


# keyword, type at creation, type in an N-SET, matching. What is "3 3" and stands in no row of the table belongs to the
# modules that the table takes as a whole: PS3.3 C.2.3, C.2.4, C.3.3 to C.3.5, C.12.1.
_ROWS: Final = """
TransactionUID E - -
ScheduledProcedureStepPriority 1 1 m
ScheduledProcedureStepModificationDateTime 3 - m
ProcedureStepLabel 1 1 m
WorklistLabel 2 1 m
ScheduledProcessingParametersSequence 2 2 -
ScheduledStationNameCodeSequence 2 2 m
ScheduledStationClassCodeSequence 2 2 m
ScheduledStationGeographicLocationCodeSequence 2 2 m
ScheduledHumanPerformersSequence 2 2 m
ScheduledProcedureStepStartDateTime 1 1 m
ExpectedCompletionDateTime 3 1 m
ScheduledProcedureStepExpirationDateTime 3 3 m
ScheduledWorkitemCodeSequence 2 1 m
CommentsOnTheScheduledProcedureStep 2 2 m
InputReadinessState 1 1 m
InputInformationSequence 2 2 m
StudyInstanceUID 2 2 m
OutputDestinationSequence 3 3 m
PatientName 2 - m
PatientID 2 - m
IssuerOfPatientID 2 - m
IssuerOfPatientIDQualifiersSequence 2 - m
OtherPatientIDsSequence 2 3 m
PatientBirthDate 2 - m
PatientSex 2 - m
ReferencedPatientPhotoSequence 3 3 -
AdmissionID 2 - m
IssuerOfAdmissionIDSequence 2 - m
AdmittingDiagnosesDescription 2 - m
AdmittingDiagnosesCodeSequence 2 - m
ReferencedRequestSequence 2 - m
ReplacedProcedureStepSequence 3 - m
MedicalAlerts 3 2 m
PregnancyStatus 3 2 m
SpecialNeeds 3 2 m
ProcedureStepState 1 - m
ProcedureStepProgressInformationSequence E 2 -
UnifiedProcedureStepPerformedProcedureSequence E 2 m
PatientAge 3 3 m
PatientSize 3 3 m
PatientWeight 3 3 m
PatientBirthTime 3 3 m
PatientComments 3 3 m
PatientAddress 3 3 m
PatientTelephoneNumbers 3 3 m
PatientPrimaryLanguageCodeSequence 3 3 m
PatientSpeciesDescription 3 3 m
OtherPatientNames 3 3 m
EthnicGroup 3 3 m
Occupation 3 3 m
ConfidentialityConstraintOnPatientDataDescription 3 3 m
Allergies 3 3 m
PatientState 3 3 m
AdditionalPatientHistory 3 3 m
SmokingStatus 3 3 m
LastMenstrualDate 3 3 m
PertinentDocumentsSequence 3 3 -
PertinentResourcesSequence 3 3 -
ServiceEpisodeID 3 3 m
ServiceEpisodeDescription 3 3 m
IssuerOfServiceEpisodeIDSequence 3 3 m
InstitutionName 3 3 m
InstitutionAddress 3 3 m
InstitutionCodeSequence 3 3 m
CurrentPatientLocation 3 3 m
PatientInstitutionResidence 3 3 m
VisitStatusID 3 3 m
VisitComments 3 3 m
RouteOfAdmissions 3 3 m
AdmittingDate 3 3 m
AdmittingTime 3 3 m
ReferringPhysicianName 3 3 m
InstanceCreationDate 3 3 m
InstanceCreationTime 3 3 m
TimezoneOffsetFromUTC 3 3 -
"""


def _attribute(row: str) -> Attribute:
    keyword, create, setting, matches = row.split()
    tag = key(keyword)
    return Attribute(
        keyword=keyword,
        tag=tag,
        vr=dictionary_VR(int(tag, 16)),
        create=create,
        set=setting,
        matches=matches == "m",
    )


ATTRIBUTES: Final = {one.tag: one for one in map(_attribute, filter(None, _ROWS.split("\n")))}

SOP_CLASS: Final = key("SOPClassUID")
SOP_INSTANCE: Final = key("SOPInstanceUID")
TRANSACTION: Final = key("TransactionUID")
TIMEZONE: Final = key("TimezoneOffsetFromUTC")
STATE: Final = key("ProcedureStepState")
PRIORITY: Final = key("ScheduledProcedureStepPriority")
LABEL: Final = key("ProcedureStepLabel")
WORKLIST: Final = key("WorklistLabel")
START: Final = key("ScheduledProcedureStepStartDateTime")
MODIFIED: Final = key("ScheduledProcedureStepModificationDateTime")
EXPECTED: Final = key("ExpectedCompletionDateTime")
READINESS: Final = key("InputReadinessState")
COMMENTS: Final = key("CommentsOnTheScheduledProcedureStep")
WORKITEM_CODE: Final = key("ScheduledWorkitemCodeSequence")
STATION_NAME: Final = key("ScheduledStationNameCodeSequence")
HUMANS: Final = key("ScheduledHumanPerformersSequence")
INPUT: Final = key("InputInformationSequence")
STUDY: Final = key("StudyInstanceUID")
REQUEST: Final = key("ReferencedRequestSequence")
REPLACED: Final = key("ReplacedProcedureStepSequence")
PROGRESS: Final = key("ProcedureStepProgressInformationSequence")
PERFORMED: Final = key("UnifiedProcedureStepPerformedProcedureSequence")
CANCELLED_AT: Final = key("ProcedureStepCancellationDateTime")
CANCEL_REASON: Final = key("ReasonForCancellation")
DISCONTINUED: Final = key("ProcedureStepDiscontinuationReasonCodeSequence")
RECEIVER: Final = key("ReceivingAE")
REQUESTER: Final = key("RequestingAE")
DELETION_LOCK: Final = key("DeletionLock")
CONTACT_URI: Final = key("ContactURI")
CONTACT_NAME: Final = key("ContactDisplayName")
SCP_STATUS: Final = key("SCPStatus")
SUBSCRIPTION_LIST: Final = key("SubscriptionListStatus")
ITEM_LIST: Final = key("UnifiedProcedureStepListStatus")
CODE_VALUE: Final = key("CodeValue")
CODE_SCHEME: Final = key("CodingSchemeDesignator")
CODE_MEANING: Final = key("CodeMeaning")

PRIORITIES: Final = ("HIGH", "MEDIUM", "LOW")
READINESSES: Final = ("INCOMPLETE", "UNAVAILABLE", "READY")  # PS3.3 C.30.1

# Of each item of Referenced Request (0040,A370), type 2; Study Instance UID is type 1.
OF_REQUEST: Final = tuple(
    key(keyword)
    for keyword in (
        "AccessionNumber",
        "IssuerOfAccessionNumberSequence",
        "OrderPlacerIdentifierSequence",
        "OrderFillerIdentifierSequence",
        "RequestedProcedureID",
        "RequestedProcedureDescription",
        "RequestedProcedureCodeSequence",
    )
)
# Of the item of UPS Performed Procedure (0074,1216) when a step is COMPLETED: final state P, table CC.2.5-1.
WHEN_COMPLETED: Final = tuple(
    key(keyword)
    for keyword in (
        "PerformedStationNameCodeSequence",
        "PerformedProcedureStepStartDateTime",
        "PerformedWorkitemCodeSequence",
        "PerformedProcedureStepEndDateTime",
    )
)
OUTPUT: Final = key("OutputInformationSequence")  # P too, but it may have no items where there is no output
DATE_TIMES: Final = frozenset(one.tag for one in ATTRIBUTES.values() if one.vr == "DT")
