"""`make papers`: the papers of the software, and those of the example settings, written anew.

python deploy/papers/build/make.py                      into deploy/
python deploy/papers/build/make.py --software FOLDER    those of the software only, somewhere else (tests)
"""

import argparse
import hashlib
import re
import sys
import tomllib
from pathlib import Path

from licences import notices, page
from networks import networks
from packages import LOCKS, collected
from review import reviewed
from sbom import digest_of, sbom

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def software(to: Path, *, locks: Path, review: Path) -> None:
    """Write SBOM, licences and notices. Raises Stale where a person has to look first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    packages, models = collected(locks, extras), networks(ROOT / "engines")
    known = reviewed(review)
    digest = digest_of(packages)
    tables = {
        f"engines/tables/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((ROOT / "engines" / "tables").glob("*.npz"))
    }
    content = {
        "sbom.cdx.json": sbom(
            version=project["version"],
            packages=packages,
            wanted=[*project["dependencies"], *(line for extra in LOCKS if extra for line in extras[extra])],
            networks=models,
            tables=tables,
            known=known,
            locks=digest,
        ),
        "LICENCES.md": page(packages, models, known, locks=digest),
        "NOTICES.txt": notices(packages),
    }
    to.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        (to / name).write_text(text, encoding="utf-8")


def example() -> None:
    """Write the papers of the example settings: what a site gets from `imaging-node papers`."""
    from node.commands.papers import written

    content = written(ROOT / "deploy" / "node.example.toml")
    for name, text in content.items():
        folder = ROOT / "deploy" if name == "CONFORMANCE.md" else HERE.parent / "example"
        (folder / name).write_text(text, encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=re.split(r"\n\n", __doc__ or "")[0])
    parser.add_argument("--software", type=Path, help="write the papers of the software here, and nothing else")
    parser.add_argument("--locks", type=Path, default=ROOT / "deploy" / "lock")
    parser.add_argument("--reviewed", type=Path, default=HERE / "reviewed.toml")
    chosen = parser.parse_args()
    software(chosen.software or HERE.parent / "software", locks=chosen.locks, review=chosen.reviewed)
    if chosen.software is None:
        example()
    sys.stdout.write("Papers written.\n")


if __name__ == "__main__":
    main()
