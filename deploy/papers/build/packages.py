"""The packages of the lock files, with what their installed metadata says."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS: Final = {"": "runtime", "mr": "mr", "gpu": "gpu", "openvino": "test", "triton": "test"}
"""Extra of the node ("" for none) -> the lock file that has its versions."""

# What the locks are made for, wherever this runs.
_TARGET: Final = {
    "python_version": "3.11",
    "python_full_version": "3.11.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "os_name": "posix",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}
_TEXT: Final = re.compile(r"(licen[cs]e|notice|copying|third.?part)[^/]*$", re.IGNORECASE)
_NO_TEXT: Final = (".py", ".pyc", ".json")

Lock = dict[str, tuple[str, tuple[str, ...]]]
"""Name -> version and hashes."""


class Stale(SystemExit):
    """What has to be changed by hand before the papers can be written."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """One package of a lock file.

    extras: of the node, that bring it; empty: every node has it
    hashes: SHA-256 of each file that the lock allows
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    extras: tuple[str, ...]

    @property
    def key(self) -> str:
        """Its package URL."""
        return f"pkg:pypi/{self.name}@{self.version}"

    @cached_property
    def installed(self) -> Distribution | None:
        """Its metadata in this environment; None if it is not here, or in another version."""
        try:
            found = distribution(self.name)
        except PackageNotFoundError:
            return None
        return found if found.version == self.version else None

    def says(self) -> str:
        """What its metadata says of its licence, as it stands there; empty where it is not installed."""
        if self.installed is None:
            return ""
        about = self.installed.metadata
        if stated := about.get("License-Expression"):
            return stated
        groups = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or () if "License ::" in line]
        words = (about.get("License") or "").strip()
        return "; ".join([*([words.splitlines()[0]] if words else []), *groups])

    def texts(self) -> list[tuple[str, str]]:
        """Its licence files, notices included: path inside its metadata or package, and text."""
        if self.installed is None:
            return []
        found = []
        for file in sorted(self.installed.files or (), key=str):
            if _TEXT.search(str(file)) and file.suffix not in _NO_TEXT:
                text = Path(str(self.installed.locate_file(file))).read_text(encoding="utf-8", errors="replace")
                found.append((re.sub(r"^[^/]*\.dist-info/(licenses/)?", "", str(file)), text))
        return found

    def needs(self, extras: Iterable[str] = ()) -> Iterator[Requirement]:
        """What it needs on the platform of the locks, with these extras of its own."""
        for line in (self.installed.requires or ()) if self.installed is not None else ():
            wanted = Requirement(line)
            if wanted.marker is None or any(wanted.marker.evaluate({**_TARGET, "extra": one}) for one in ("", *extras)):
                yield wanted


def locked(text: str) -> Lock:
    """Name -> version and hashes, of one lock file."""
    found = {}
    for block in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE):
        if head := re.match(r"(\S+?)==([^\s;\\]+)", block):
            found[canonicalize_name(head[1])] = (head[2], tuple(sorted(re.findall(r"--hash=sha256:(\w+)", block))))
    return found


def collected(locks: Path, wanted: Mapping[str, Iterable[str]]) -> list[Package]:
    """Every package of a node with all of its extras, those of every node first.

    locks:  folder of the lock files
    wanted: extra -> the names of its own packages, as in pyproject.toml
    raises: Stale if an extra's package is in no lock
    """
    runtime = _read(locks, "runtime")
    extras: dict[tuple[str, str], list[str]] = {(name, version): [] for name, (version, _) in runtime.items()}
    hashes = {(name, version): found for name, (version, found) in runtime.items()}
    for extra, file in LOCKS.items():
        if not extra:
            continue
        versions = _read(locks, file)
        more = _reached(list(wanted[extra]), versions, runtime) if file == "test" else versions.keys() - runtime.keys()
        for name in more:
            version, found = versions[name]
            extras.setdefault((name, version), []).append(extra)
            hashes[name, version] = found
    found_all = [
        Package(name=name, version=version, hashes=hashes[name, version], extras=tuple(brought))
        for (name, version), brought in extras.items()
    ]
    return sorted(found_all, key=lambda one: (one.extras, one.name, one.version))


def edges(packages: Iterable[Package], wanted: Iterable[str]) -> dict[str, set[str]]:
    """Name -> names of what it needs, with the extras that anything asks of it.

    wanted: what the node itself asks for, as in pyproject.toml
    """
    by_name: dict[str, list[Package]] = {}
    for one in packages:
        by_name.setdefault(one.name, []).append(one)
    asked: dict[str, set[str]] = {}
    found: dict[str, set[str]] = {name: set() for name in by_name}
    queue = [Requirement(line) for line in wanted]
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        if name in asked and requirement.extras <= asked[name]:
            continue
        asked.setdefault(name, set()).update(requirement.extras)
        for one in by_name.get(name, ()):
            needed = list(one.needs(sorted(asked[name])))
            found[name] |= {canonicalize_name(other.name) for other in needed} & found.keys()
            queue.extend(needed)
    return found


def _reached(own: list[str], versions: Lock, runtime: Lock) -> set[str]:
    """Names of what an extra's packages bring that not every node has. The lock of the tests has more than that."""
    pool = [Package(name=name, version=one, hashes=hashes, extras=()) for name, (one, hashes) in versions.items()]
    graph = edges(pool, own)
    queue, reached = [canonicalize_name(Requirement(line).name) for line in own], set[str]()
    while queue:
        name = queue.pop()
        if name in reached or name in runtime:
            continue
        if name not in versions:
            raise Stale(f"No lock file has {name}, which an extra needs. Run: make lock")
        reached.add(name)
        queue.extend(graph[name])
    return reached


def _read(locks: Path, name: str) -> Lock:
    return locked((locks / f"{name}.txt").read_text(encoding="utf-8"))
