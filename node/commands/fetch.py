"""`imaging-node fetch`: ask an archive for a study or series, by C-MOVE to the node's own port or by C-GET."""

import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from node import app
from node.commands.run import alive
from node.dicom.uids import is_well_formed
from node.errors import BadSetting, Refuse
from node.peers.dimse import query as dimse_query
from node.peers.dimse import retrieve as dimse_retrieve
from node.peers.dimse.connect import Address
from node.peers.dimse.retrieve import Counts, Retrieved
from node.records import instances
from node.records.database import Records
from node.records.states import Ending
from node.settings import DicomDestination, Settings, load

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What came of it.

    wanted:  instances that the archive said it has; None if it does not answer C-FIND
    arrived: of these, or of those that it says it sent, how many the node holds now
    trouble: why not all came; empty if they did
    """

    wanted: int | None
    arrived: int
    failed: int
    warnings: int
    trouble: str


def fetch(
    settings_file: Path, source: str, *, study: str | None, series: str | None, get: bool, progress: Progress
) -> Fetched:
    """Fetch and wait until all of it is here, or the archive has said that it is not.

    progress: (objects done, objects in all)
    raises:   BadSetting; Refuse if the archive knows no such study or series; Unreachable, Broken
    """
    settings = load(settings_file)
    archive = _archive(settings, source)
    if not (study or series):
        raise BadSetting("Nothing is asked for.", fix="Name a study with --study or a series with --series.")
    for uid in filter(None, (study, series)):
        if not is_well_formed(uid):
            raise BadSetting(f"{uid!a} is no UID.", fix="Name a Study or Series Instance UID.")
    if not get and not alive(settings, "receiver"):
        raise BadSetting("The node does not run, and C-MOVE sends to it.", fix="Start it, or use --get.")
    if get:
        app.prepare_state(settings)
    address = app.address_of(settings)(archive)
    what = _identifier(study, series)
    wanted = _wanted(address, study, series)
    with contextlib.closing(Records(settings.node.state.absolute())) as records:
        retrieved = (
            _get(settings, records, address, what, progress)
            if get
            else dimse_retrieve.move(
                address, what, to=settings.receiver.ae_title, progress=lambda counts: _tell(counts, progress)
            )
        )
        with records.read() as connection:
            here = {uid for uid in wanted or () if instances.by_uid(connection, uid) is not None}
    return _outcome(retrieved, wanted, len(here))


def _outcome(retrieved: Retrieved, wanted: frozenset[str] | None, here: int) -> Fetched:
    counts, trouble = retrieved.counts, retrieved.why
    arrived = counts.completed + counts.warning if wanted is None else here
    if not trouble and wanted is not None and here < len(wanted):
        trouble = f"{len(wanted) - here} of {len(wanted)} did not arrive"
    if not trouble and not arrived:
        trouble = "the archive sent nothing"
    return Fetched(
        wanted=None if wanted is None else len(wanted),
        arrived=arrived,
        failed=counts.failed,
        warnings=counts.warning,
        trouble=trouble,
    )


def _archive(settings: Settings, name: str) -> DicomDestination:
    known = {one.name: one for one in settings.destinations if one.kind == "dicom"}
    if name not in known:
        raise BadSetting(
            f"{name!a} is no destination of kind dicom.", fix=f"Known are {', '.join(sorted(known)) or 'none'}."
        )
    return known[name]


def _identifier(study: str | None, series: str | None) -> Dataset:
    what = Dataset()
    what.QueryRetrieveLevel = "SERIES" if series else "STUDY"
    if study:
        what.StudyInstanceUID = study
    if series:
        what.SeriesInstanceUID = series
    return what


def _wanted(address: Address, study: str | None, series: str | None) -> frozenset[str] | None:
    """The SOP Instance UIDs that the archive has; None if it does not say. Raises Refuse if it has none."""
    level = "series" if series else "study"
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID, query.SeriesInstanceUID = study or "", series or ""
    found = dimse_query.find(address, query)
    if found is None:
        return None
    pairs = {
        (str(one.get("StudyInstanceUID") or study or ""), str(one.SeriesInstanceUID))
        for one in found
        if one.get("SeriesInstanceUID")
    }
    if not pairs:
        fix = "" if study else " Some archives find a series only with its study: name it with --study."
        raise Refuse(f"The archive knows no {level} with this UID.{fix}")
    uids: set[str] = set()
    for study_uid, series_uid in sorted(pairs):
        there = dimse_query.instances_there(address, study_uid=study_uid, series_uid=series_uid)
        if there is None:
            return None
        uids |= there
    return frozenset(uids)


def _get(settings: Settings, records: Records, address: Address, what: Dataset, progress: Progress) -> Retrieved:
    key, me = uuid.uuid4().hex, app.receiver_key("fetch")
    with contextlib.ExitStack() as stack:
        stack.enter_context(app.alone(settings, "fetch"))
        child = stack.enter_context(contextlib.closing(app.decoder_of(settings)))
        intake = stack.enter_context(
            contextlib.closing(app.intake_of(settings, records, app.spool_of(settings), child))
        )
        app.close_lost(settings, records, me)
        with records.write() as connection:  # evidence of completeness, as of any sender
            instances.open_association(connection, key=key, calling_ae=address.called_ae, receiver=me, at=time.time())
        ending = Ending.ABORTED
        try:
            retrieved = dimse_retrieve.get(
                address,
                what,
                association=key,
                begin=intake.begin,
                progress=lambda counts: _tell(counts, progress),
            )
            if not retrieved.why:
                ending = Ending.RELEASED
            return retrieved
        finally:
            with records.write() as connection:
                instances.close_association(connection, key=key, at=time.time(), ending=ending)


def _tell(counts: Counts, progress: Progress) -> None:
    done = counts.completed + counts.failed + counts.warning
    progress(done, done + counts.remaining)
