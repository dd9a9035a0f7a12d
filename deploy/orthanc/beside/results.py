"""What came back from the node: labels and metadata on it, on the series that it was made of, and on the study."""

import json
import time
from typing import Any

from beside.headers import described, items, label_of
from beside.rest import Marks, get, lookup
from beside.settings import MADE

FLAGS = {"FLAG_RAISED": "ai-flag-raised", "NOT_ANALYSABLE": "ai-not-analysable"}  # as the node's own labels of a study
PROCESSED, NOTHING, WITHDRAWN = "ai-processed", "ai-no-result", "ai-withdrawn"


class Results:
    """Labels results, and series of which none came.

    waits: Orthanc's id of a series that was sent -> since when its result is waited for, s since 1970
    """

    def __init__(self, marks: Marks, *, no_result_hours: float) -> None:
        self.waits: dict[str, float] = {}
        self.labelled = 0
        self._marks, self._no_result_hours = marks, no_result_hours

    def resume(self, waits: dict[str, float]) -> None:
        """Go on with what was waited for when Orthanc ended."""
        self.waits = {series_id: float(since) for series_id, since in waits.items()}

    def wait_for(self, series_id: str) -> None:
        """A series was sent."""
        self.waits[series_id] = time.time()

    def label(self, series_id: str, study_id: str, tags: dict[str, Any]) -> None:
        """A series that a node made became stable."""
        said = described(tags)
        self._marks.write("series", series_id, MADE, json.dumps(said))
        network = "-".join(filter(None, (said["network"], said["network-version"])))
        own = {label_of(said["kind"].lower().replace("_", "-")), label_of(network)}
        self._marks.label("series", series_id, on=own - {""})
        withdrawal = said["kind"] == "AI_WITHDRAWAL"
        for source in _sources(tags, document=withdrawal or "flag" in said):
            if withdrawal:
                self._marks.label("series", source, on={WITHDRAWN})
            else:
                self.waits.pop(source, None)
                self._marks.label("series", source, on={PROCESSED}, off={NOTHING})
        if withdrawal or "flag" in said:
            self._label_study(study_id, withdrawal=withdrawal)
        self.labelled += 1

    def nothing_came(self) -> None:
        """Label what was sent so long ago that a result should be here."""
        late = time.time() - self._no_result_hours * 3600
        for series_id in [one for one, since in self.waits.items() if since < late]:
            del self.waits[series_id]
            if get(f"/series/{series_id}") is not None and PROCESSED not in self._marks.labels("series", series_id):
                self._marks.label("series", series_id, on={NOTHING})

    def _label_study(self, study_id: str, *, withdrawal: bool) -> None:
        """What the reports say that were not withdrawn. Only a withdrawal takes off: the node itself may have labelled
        the study before its report came.
        """
        flags = set()
        for series_id in (get(f"/studies/{study_id}") or {}).get("Series", []):
            said = self._marks.metadata("series", series_id, MADE)
            flag = json.loads(said).get("flag", "") if said else ""
            if flag in FLAGS and WITHDRAWN not in self._marks.labels("series", series_id):
                flags.add(FLAGS[flag])
        self._marks.label("studies", study_id, on=flags, off=set(FLAGS.values()) - flags if withdrawal else frozenset())


def _sources(tags: dict[str, Any], *, document: bool) -> set[str]:
    """Orthanc's ids of the series that an object was made of.

    document: a report or a rejection note, which means all that is its evidence; key objects name pictures, too
    """
    named = items(tags, "ReferencedSeriesSequence")[:1]  # the others are what the source itself refers to
    if document:
        named += items(tags, "CurrentRequestedProcedureEvidenceSequence", "ReferencedSeriesSequence")
    found = {one for item in named for one in lookup(str(item.get("SeriesInstanceUID", "")), "Series")}
    for image in items(tags, "SourceImageSequence"):
        for one in lookup(str(image.get("ReferencedSOPInstanceUID", "")), "Instance"):
            found |= {(get(f"/instances/{one}") or {}).get("ParentSeries", "")} - {""}
    return found
