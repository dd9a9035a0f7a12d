"""Who brought objects, and how it ended: the evidence that assembling builds on, whatever the protocol was."""

import time

from node.metrics import METRICS
from node.records import instances
from node.records.database import Records
from node.records.states import Ending


class Associations:
    """Associations, and requests by HTTP, of one process in the records.

    me: the key of that process
    """

    def __init__(self, records: Records, me: str) -> None:
        self._records, self._me = records, me

    def opened(self, key: str, sender: str) -> None:
        METRICS.associations.inc()
        with self._records.write() as connection:
            instances.open_association(connection, key=key, calling_ae=sender, receiver=self._me, at=time.time())

    def closed(self, key: str, whole: bool) -> None:
        """`whole`: ended in order, with everything taken that ever can be."""
        ending = Ending.RELEASED if whole else Ending.ABORTED
        with self._records.write() as connection:
            instances.close_association(connection, key=key, at=time.time(), ending=ending)
