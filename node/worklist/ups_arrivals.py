"""Studies enter the worklist when their triage is routed: before anybody knows what it will say."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from node.child import Child
from node.errors import Refuse
from node.log import log
from node.records import sets, triages, workitems
from node.records.database import Records
from node.settings.ups import Ups
from node.spool import Spool


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """clock: seconds since the epoch"""

    records: Records
    spool: Spool
    child: Child
    settings: Ups
    clock: Callable[[], float]

    def note(self, job_id: str) -> None:
        """Have the study of a triage job in the list; if it is there already, nothing happens."""
        if not self.settings.enabled:
            return
        with self.records.read() as connection:
            if workitems.lists(connection, job_id):
                return
            file = sets.members(connection, triages.set_of(connection, job_id))[0].file
        facts = self._facts(file, job_id)
        with self.records.write() as connection:
            workitems.arrived(
                connection,
                job_id,
                facts,
                label=self.settings.label,
                retrieve_ae=self.settings.retrieve_ae_title,
                at=self.clock(),
            )

    def _facts(self, file: str, job_id: str) -> dict[str, Any]:
        try:
            return self.child.call("node.dicom.workitems:study", {"path": str(self.spool.path(file))})
        except Refuse as error:  # the case is in the list all the same, by its UIDs
            log.warning("nobody can tell whose study it is", job=job_id[:12], reason=error.message)
            return {}
