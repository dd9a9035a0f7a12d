"""Work that the records have under way and no workflow of this program does: it begins anew.

So it is after a restore, which brings no workflows; when DBOS's database was lost; and when an upgrade or a roll-back
changed the flow so that its version was raised: DBOS leaves workflows of another version alone for ever.
"""

from typing import Final

from dbos import DBOS

from node.log import log
from node.records import unfinished
from node.records.database import Records

_LIVE: Final = ["PENDING", "ENQUEUED", "DELAYED"]
_ID: Final = 64  # workflow ids begin with that of a set or a job, which is a SHA-256


def begin_anew(records: Records, *, flow_version: str, at: float) -> int:
    """Have such sets started again; once, before anything new is started. Returns how many.

    flow_version: whose workflows go on
    at:           seconds since the epoch
    """
    with records.read() as connection:
        if not unfinished.sets(connection):
            return 0
    live = DBOS.list_workflows(status=_LIVE, app_version=flow_version, load_input=False, load_output=False)
    known = {one.workflow_id[:_ID] for one in live}
    with records.write() as connection:  # what ended meanwhile is not unfinished any more
        found = [
            set_id
            for set_id, job_ids in unfinished.sets(connection).items()
            if set_id not in known and (not job_ids or job_ids - known)
        ]
        unfinished.begin_anew(connection, found, why="no workflow", at=at)
    if found:
        log.warning("work without a workflow begins anew", sets=len(found))
    return len(found)
