"""What lies inside the wheels: native libraries and crates, from the SBOMs that wheels bring (PEP 770) and by hand."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packages import Package
from review import Inside, Reviewed


def parts(package: Package, known: Reviewed) -> list[Inside]:
    """Everything that is told, by name. Raises Stale for a licence that nobody looked at."""
    found = {(one.name, one.version): one for one in _of_sboms(package, known)}
    found |= {(one.name, one.version): one for one in known.inside_of(package)}
    return [found[key] for key in sorted(found)]


def libraries(package: Package) -> list[str]:
    """File names of the shared libraries that its wheel brings beside its own extension modules."""
    files = package.installed.files or () if package.installed is not None else ()
    return sorted({file.name for file in files if ".so" in file.suffixes and file.parts[0].endswith(".libs")})


def _of_sboms(package: Package, known: Reviewed) -> Iterator[Inside]:
    if package.installed is None:
        return
    for file in package.installed.files or ():
        if "sboms" in file.parts and file.suffix == ".json":
            text = Path(str(package.installed.locate_file(file))).read_text(encoding="utf-8")
            for one in json.loads(text).get("components", ()):
                if not _is_left_out(one, package, known):
                    licence = _licence(one)
                    yield Inside(
                        package=package.name,
                        name=one["name"],
                        version=one.get("version", ""),
                        licence=licence and known.known(licence, f"{one['name']} in {package.name}"),
                        purl=one.get("purl", ""),
                        told_by=f"{file.name} of the wheel",
                    )


def _is_left_out(one: dict[str, Any], package: Package, known: Reviewed) -> bool:
    """The package itself, its own modules, and what the wheel could have and has not."""
    own = one.get("purl", "").startswith("pkg:pypi/") or one["name"] in (package.name, package.name.replace("-", "_"))
    return own or one["name"] in known.absent.get(package.name, ()) or one.get("scope") == "excluded"


def _licence(one: dict[str, Any]) -> str:
    said = []
    for entry in one.get("licenses", ()):
        said.append(entry.get("expression") or entry["license"].get("id") or "")
    return " AND ".join(f"({text})" if " OR " in text and len(said) > 1 else text for text in said if text)
