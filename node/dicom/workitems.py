"""What peers write into a worklist, and what an image says of the study that a workitem is of. Runs in the child.

PS3.4 annex CC (Unified Procedure Step); the data sets are small and hold names, so that they go to the records only.
"""

import base64
from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from node.dicom import part10
from node.dicom.json_model import CHARACTER_SET, Plain, plain
from node.dicom.scan import encodings
from node.errors import Refuse

# Of the patient and the visit, as they stand at the root of an image: PS3.3 C.7.1.1, C.7.2.2, C.3.
_OF_PATIENT: Final = (
    "SpecificCharacterSet PatientName PatientID IssuerOfPatientID IssuerOfPatientIDQualifiersSequence "
    "OtherPatientIDsSequence PatientBirthDate PatientSex AdmissionID IssuerOfAdmissionIDSequence "
    "AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence MedicalAlerts PregnancyStatus SpecialNeeds"
)
# Of the request: in Request Attributes (0040,0275), or else at the root (PS3.3 C.7.2.1, C.7.3.1, 10.6).
_OF_REQUEST: Final = (
    "AccessionNumber IssuerOfAccessionNumberSequence PlacerOrderNumberImagingServiceRequest "
    "OrderPlacerIdentifierSequence FillerOrderNumberImagingServiceRequest OrderFillerIdentifierSequence "
    "RequestedProcedureID RequestedProcedureDescription RequestedProcedureCodeSequence "
    "ReasonForTheRequestedProcedure ReasonForRequestedProcedureCodeSequence RequestingPhysician RequestingService "
    "ReferringPhysicianName"
)


def parsed(request: Mapping[str, Any]) -> dict[str, Any]:
    """Read the data set of a request of the worklist.

    request: data (base64 of the data set, little endian), implicit (VR)
    returns: attributes (`json_model.Plain`), and left_out: tags that are not kept
    raises:  Refuse if it cannot be read, names an unknown character set, or passes a limit
    """
    data = BytesIO(base64.b64decode(request["data"]))
    try:
        found = read_dataset(data, is_implicit_VR=request["implicit"], is_little_endian=True)
        attributes, left_out = plain(_in_known_set(found))
    except (OSError, EOFError) as error:  # no disk is at work here
        raise Refuse("The data set ends where it should not.") from error
    return {"attributes": attributes, "left_out": left_out}


def study(request: Mapping[str, Any]) -> dict[str, Any]:
    """What one image says of patient, visit and request.

    request: path, of a Part 10 file
    returns: patient and order (`json_model.Plain` each), and character_set: terms of (0008,0005)
    raises:  Refuse if the file cannot be read
    """
    return read_study(part10.read(str(request["path"])).dataset)


def read_study(found: Dataset) -> dict[str, Any]:
    """`study` of a data set. What is not in its own character set is left out: a name that is wrong helps nobody."""
    orders = [found, *(found.get("RequestAttributesSequence") or ())]
    patient, order = Dataset(), Dataset()
    for keyword in _OF_PATIENT.split():
        _take(found, keyword, patient)
    for keyword in _OF_REQUEST.split():
        for source in reversed(orders):
            if keyword not in order:
                _take(source, keyword, order)
    of_patient, of_order = _readable(patient), _readable(order)
    terms = of_patient.pop(CHARACTER_SET, {}).get("Value", [])
    return {"patient": of_patient, "order": of_order, "character_set": terms}


def _take(source: Dataset, keyword: str, to: Dataset) -> None:
    if keyword in source and not source[keyword].is_empty:
        to.add(source[keyword])


def _readable(some: Dataset) -> Plain:
    found: Plain = {}
    for element in some:
        alone = Dataset()
        alone.add(element)
        try:
            found |= plain(alone)[0]
        except Refuse:
            continue  # said by its absence: the workitem has it empty
    return found


def _in_known_set(found: Dataset) -> Dataset:
    """The data set, if every term of its character set is one of PS3.3 C.12.1.1.2: pydicom would read it as ASCII."""
    terms = part10.values(found, "SpecificCharacterSet") or ()
    for term in terms:
        if term and not term.endswith(("IR 6", "IR_6")) and encodings(term) == encodings(""):
            raise Refuse("Specific Character Set (0008,0005) names a set that PS3.3 C.12.1.1.2 does not have.")
    return found
