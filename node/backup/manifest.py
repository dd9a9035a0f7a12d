"""What a backup holds: every file with its size and SHA-256, and from which node and moment it is."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from node.errors import Refuse

FILE_NAME: Final = "manifest.json"
SEAL: Final = "manifest.sha256"  # as `sha256sum -c` reads it
RECORDS: Final = "records.sqlite"
SETTINGS: Final = "settings.toml"
FORMAT: Final = 1
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What stands in `manifest.json`. Times: seconds since the epoch.

    node:     station_name, device_serial and state: whose backup it is
    taken_at: everything that was answered before is in it
    tables:   revision of the records
    rows:     of each table of the records
    files:    path in the backup -> (bytes, SHA-256)
    missing:  files that the records name and the node did not have any more
    keys:     path in the backup -> where it lay
    engines:  where the engines of the site lay; None: there are none
    """

    program: str
    node: dict[str, str]
    taken_at: float
    ended_at: float
    tables: str
    rows: dict[str, int]
    files: dict[str, tuple[int, str]]
    missing: tuple[str, ...]
    keys: dict[str, str]
    engines: str | None
    format: int = FORMAT

    @property
    def bytes(self) -> int:
        return sum(size for size, _ in self.files.values())

    def write(self, folder: Path) -> None:
        """Write it, with its own digest beside it. Raises OSError."""
        text = json.dumps(asdict(self), indent=1).encode()
        (folder / FILE_NAME).write_bytes(text)
        (folder / SEAL).write_text(f"{hashlib.sha256(text).hexdigest()}  {FILE_NAME}\n", encoding="ascii")


def read(folder: Path) -> Manifest:
    """The manifest of a backup. Raises Refuse if it is none, was changed, or is of a newer format."""
    try:
        text = (folder / FILE_NAME).read_bytes()
        seal = (folder / SEAL).read_text(encoding="ascii").partition(" ")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise Refuse(f"{folder} is no backup: it has no {FILE_NAME}.", fix="Name the folder of one.") from error
    if hashlib.sha256(text).hexdigest() != seal:
        raise Refuse(f"{folder / FILE_NAME} was changed or damaged.", fix="Take another backup.")
    raw: dict[str, Any] = json.loads(text)
    if raw.get("format") != FORMAT:
        raise Refuse(
            f"{folder} has format {raw.get('format')}, this program reads {FORMAT}.",
            fix=f"Use version {raw.get('program')} of the node.",
        )
    files = {path: (int(size), str(digest)) for path, (size, digest) in raw["files"].items()}
    if any(Path(path).is_absolute() or ".." in Path(path).parts for path in files):
        raise Refuse(f"{folder / FILE_NAME} names files outside of the backup.", fix="Use a backup of this program.")
    return Manifest(**{**raw, "files": files, "missing": tuple(raw["missing"])})


def digest_of(file: BinaryIO) -> str:
    """SHA-256 of what is left of an open file."""
    found = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        found.update(chunk)
    return found.hexdigest()


def newest(place: Path, node: dict[str, str] | None = None) -> Path | None:
    """The newest whole backup in a folder of them; of one node if that is named. None if there is none."""
    found = every(place, node)
    return found[-1] if found else None


def every(place: Path, node: dict[str, str] | None = None) -> list[Path]:
    """All whole backups in a folder, the oldest first."""
    found = []
    for path in place.glob("*/" + FILE_NAME):
        if path.parent.name.startswith("."):
            continue
        try:
            one = read(path.parent)
        except Refuse:
            continue
        if node is None or one.node == node:
            found.append((one.taken_at, path.parent))
    return [path for _, path in sorted(found)]


def one_of(folder: Path) -> Path:
    """The backup that a person means: the folder itself, or the newest in it. Raises Refuse if there is none."""
    if (folder / FILE_NAME).exists():
        return folder
    found = newest(folder)
    if found is None:
        raise Refuse(f"There is no whole backup in {folder}.", fix="Name the folder of one, or the folder above it.")
    return found
