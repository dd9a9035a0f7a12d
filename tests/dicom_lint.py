"""Compare what dciodvfy and dcentvfy (dicom3tools) say of derived objects with the allow-list of DICOM_SPEC section 5.

    python -m tests.dicom_lint DERIVED.dcm SOURCE.dcm

An object passes when every line is on the list, or is said of the source too: what is kept verbatim keeps its oddities.
An inherited line is a warning, or an error in a module that the specification orders to keep verbatim.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

TOOLS = ("dciodvfy", "dcentvfy", "dcmdump")

# Pattern -> why the line can't be avoided.
ALLOWED = {
    r"(Enhanced)?(CT|MR)Image|ParametricMap|SCImage|Segmentation|Comprehensive3DSR|KeyObjectSelectionDocument": (
        "the name of the IOD, no finding"
    ),
    r"Warning - Unrecognized defined term <QUANTITY> for value 4 of attribute <(Image|Frame) Type>": (
        "a defined term of PS3.3 C.8.32.2; DICOM_SPEC section 5"
    ),
    r"Error - Attribute present when condition unsatisfied \(which may not be present otherwise\) Type 1C Conditional "
    r"Element=<\w+> Module=<MRPulseSequence>": (
        "required if Image Type says ORIGINAL or MIXED, 'may be present otherwise' (PS3.3 C.8.13.4, 2020a and 2024e); "
        "the validator says it of DERIVED objects of scanners too"
    ),
    r"\(0x0008,0x001c\)  \?  - Warning - Unrecognized tag - assuming explicit value representation OK": "the same",
    r"Error - Attribute with an even group number is not a recognized standard attribute - \(0x0008,0x001c\)  \? ": (
        "Synthetic Data came with 2024b, the validator is of 2022"
    ),
    r"Warning - Attribute is not present in standard DICOM IOD - \(0x0008,0x001c\)  \? ": "the same",
    r"Warning - Attribute is not present in standard DICOM IOD - \(0x0018,0x1002\) UI Device UID ": "the same cause",
    r"\(0x0099,0x10(01|02|03|04)\)  \?  - Warning - Unrecognized tag - assuming explicit value representation OK": (
        "our private block"
    ),
    r"Warning - Dicom dataset contains attributes not present in standard DICOM IOD - "
    r"this is a Standard Extended SOP Class": "Synthetic Data and the private block",
    r"Warning - Unrecognized defined term <99GENAI> for value 1 of attribute <Coding Scheme Designator>": "our codes",
    r"Warning - Unrecognized defined term <2\.25\.\d+> for value 1 of attribute <Coding Scheme UID>": "our codes",
    r"Warning - Unrecognized defined term <AI_[A-Z_]+> for value 4 of attribute <Image Type>": "DICOM_SPEC 1.1",
    r"Warning - Unrecognized defined term <\w+> for value 1 of attribute <Window Center & Width Explanation>": (
        "the window of a converted kernel; defined terms may be extended (PS3.3 C.7.6.16.2.10)"
    ),
    r"Warning - is only permitted to be empty when actually unknown; should be absent \(not empty\) if an unpaired "
    r"body part, and have a value if a paired body part - attribute <Laterality>": (
        "actually unknown: the source does not say; absent, as it came, would be an error (decision 0002)"
    ),
}
# The same of what dcentvfy says.
ENTITIES = {
    r"Warning - Different information entities for attribute - Element=<AccessionNumber> IE <Series> versus <Study> "
    r"for file <[^>]*> versus <[^>]*>": (
        "of an image the validator takes it for a part of Request Attributes (0040,0275), of a document for one of the "
        "study, which it is (PS3.3 C.7.2.1); other values in one study would be another line"
    ),
}
VERBATIM = ("RequestAttributesMacro", "Module=<Patient>", "Module=<GeneralStudy>", "Module=<PatientStudy>")
_ALLOWED = re.compile("|".join(f"(?:{pattern})" for pattern in ALLOWED))
_ENTITIES = re.compile("|".join(f"(?:{pattern})" for pattern in ENTITIES))


def missing_tools() -> list[str]:
    """The programs of dicom3tools and DCMTK that are not installed."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def said(path: str | Path) -> list[str]:
    """Every line that dciodvfy writes about one file."""
    ran = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", check=False)
    return [line for line in (ran.stdout + ran.stderr).splitlines() if line.strip()]


@lru_cache(maxsize=64)
def _said_of_source(path: str | Path, changed_ns: int) -> list[str]:
    """Each derived object is compared with its source, which is often the same large one."""
    return said(path)


def lint(path: str | Path, source: str | Path | None = None) -> list[str]:
    """The lines about a derived object that are neither allowed nor inherited from its source."""
    lines = _said_of_source(source, Path(source).stat().st_mtime_ns) if source is not None else []
    inherited = {line for line in lines if "Error" not in line or any(module in line for module in VERBATIM)}
    return [line for line in said(path) if not _ALLOWED.fullmatch(line) and line not in inherited]


def entities(paths: Sequence[str | Path]) -> list[str]:
    """What dcentvfy finds inconsistent between the patients, studies and series of many files."""
    ran = subprocess.run(["dcentvfy", *map(str, paths)], capture_output=True, text=True, errors="replace", check=False)
    lines = (ran.stdout + ran.stderr).splitlines()
    return [line for line in lines if line.strip() and not _ENTITIES.fullmatch(line.strip())]


if __name__ == "__main__":
    lines = lint(*sys.argv[1:3])
    print("\n".join(lines) or "only lines of the allow-list")
    sys.exit(1 if lines else 0)
