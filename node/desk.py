"""Builds where verdicts of triage go. Apart from `app.py`, because a receiver need not load what tells others."""

import time
from collections.abc import Callable
from typing import Final

from node.app import orthanc_of
from node.child import Child
from node.dicom.codes import IMPLEMENTATION_CLASS_UID
from node.peers.dimse.connect import Address
from node.peers.dimse.ups_sending import UpsEvents
from node.records.database import Records
from node.settings import Settings
from node.spool import Spool
from node.worklist.desk import Desk
from node.worklist.notices import Notices
from node.worklist.tellers import tellers
from node.worklist.ups_arrivals import Arrivals
from node.worklist.withdraw import Retractions

_CALL_S: Final = 10.0  # for a subscriber to answer


def desk_of(settings: Settings, records: Records, spool: Spool, child: Child, retract: Callable[[str], None]) -> Desk:
    """Where verdicts of triage go.

    retract: writes and queues the note that rejects the objects of a job
    """
    listed = settings.worklist
    told = tellers(listed.channels, orthanc_of(settings), records)
    return Desk(
        settings=listed,
        arrivals=Arrivals(records=records, spool=spool, child=child, settings=listed.ups, clock=time.time),
        notices=Notices(records, told, clock=time.time),
        events=UpsEvents(records, subscribers_of(settings), clock=time.time),
        retractions=Retractions(records=records, spool=spool, child=child, retract=retract),
    )


def subscribers_of(settings: Settings) -> dict[str, Address]:
    """How to call the peers that are told of workitems, by AE title."""
    return {
        peer.ae_title: Address(
            host=peer.host,
            port=peer.port,
            called_ae=peer.ae_title,
            calling_ae=settings.receiver.ae_title,
            connect_s=_CALL_S,
            response_s=_CALL_S,
            implementation_uid=IMPLEMENTATION_CLASS_UID,
            tls=peer.tls,
        )
        for peer in settings.peers
        if peer.host is not None and peer.port is not None
    }
