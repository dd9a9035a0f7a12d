"""Whether a backup is what it was when it was taken."""

from collections.abc import Callable
from pathlib import Path

from node.backup import manifest
from node.backup.manifest import Manifest
from node.records import copies

_MOST = 20


def faults(folder: Path, found: Manifest, *, progress: Callable[[int, int], None] = lambda *_: None) -> list[str]:
    """What is wrong with the files of a backup, by name; nothing if it is whole. Reads every byte.

    progress: bytes read, bytes in all
    """
    wrong, done = [], 0
    for name, (size, digest) in found.files.items():
        path = folder / name
        try:
            with path.open("rb") as file:
                if path.stat().st_size != size:
                    wrong.append(f"{name} has {path.stat().st_size} bytes, not {size}")
                elif manifest.digest_of(file) != digest:
                    wrong.append(f"{name} was changed")
        except FileNotFoundError:
            wrong.append(f"{name} is missing")
        except OSError as error:
            wrong.append(f"{name} cannot be read: {error.strerror}")
        done += size
        progress(done, found.bytes)
    if not any(one.startswith(manifest.RECORDS) for one in wrong):
        wrong += [f"{manifest.RECORDS}: {one}" for one in copies.faults(folder / manifest.RECORDS)]
    return wrong


def said(wrong: list[str]) -> str:
    """In a sentence, the first of them by name."""
    more = f"; and {len(wrong) - _MOST} more" if len(wrong) > _MOST else ""
    return "; ".join(wrong[:_MOST]) + more
