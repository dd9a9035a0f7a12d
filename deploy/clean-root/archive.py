"""The archive's side of ../try-clean-root.sh, run in the clean root: Orthanc is asked and told by its REST interface.

archive.py send SEED SLICES     a phantom into Orthanc, and from there to the node
archive.py send-files FOLDER    files into Orthanc, and from there to the node
archive.py wait SECONDS         until each study has one derived series with as many images as its scan, and no more
archive.py busy SECONDS         until the node works on a series
"""

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

ORTHANC = "http://127.0.0.1:8042"


def ask(path: str, body: bytes | None = None) -> Any:
    with urllib.request.urlopen(urllib.request.Request(ORTHANC + path, data=body), timeout=60) as answer:  # noqa: S310
        return json.load(answer)


def send_files(files: list[Path]) -> None:
    stored = [ask("/instances", file.read_bytes()) for file in files]
    series = sorted({instance["ParentSeries"] for instance in stored})
    ask("/modalities/imaging-node/store", json.dumps({"Resources": series, "Timeout": 60}).encode())
    sys.stdout.write(f"sent {len(stored)} images of {len(series)} series" + "\n")


def send(seed: int, slices: int) -> None:
    from node.demo.phantom import make_series

    with tempfile.TemporaryDirectory() as folder:
        send_files(make_series(Path(folder), slices=slices, seed=seed))


def studies() -> dict[str, tuple[list[int], list[int]]]:
    """Images of each scan and of each derived series, by study."""
    found: dict[str, tuple[list[int], list[int]]] = {}
    for series in ask("/series?expand"):
        scans, derived = found.setdefault(series["ParentStudy"], ([], []))
        first = ask(f"/instances/{series['Instances'][0]}/simplified-tags")
        (derived if first["ImageType"].startswith("DERIVED") else scans).append(len(series["Instances"]))
    return found


def jobs() -> list[dict[str, Any]]:
    done = subprocess.run(["imaging-node", "jobs", "--json"], check=True, capture_output=True, text=True)  # noqa: S607
    return json.loads(done.stdout)["jobs"]


def wait(seconds: float) -> None:
    until = time.monotonic() + seconds
    while True:
        found = studies()
        whole = all(sorted(scans) == sorted(derived) for scans, derived in found.values())
        finished = all(job["state"] == "delivered" for job in jobs()) and len(jobs()) == len(found)
        if found and whole and finished:
            break
        if time.monotonic() > until:
            sys.exit(f"after {seconds:g} s: images (scans, derived) {list(found.values())}, jobs {jobs()}")
        time.sleep(0.5)
    sys.stdout.write(f"{len(found)} studies: {list(found.values())}" + "\n")


def busy(seconds: float) -> None:
    until = time.monotonic() + seconds
    while not any(job["state"] != "delivered" for job in jobs()):
        if time.monotonic() > until:
            sys.exit(f"no series is under way: {jobs()}")
        time.sleep(0.05)
    sys.stdout.write(f"under way: {[job['state'] for job in jobs()]}" + "\n")


def main() -> None:
    match sys.argv[1:]:
        case ["send", seed, slices]:
            send(int(seed), int(slices))
        case ["send-files", folder]:
            send_files(sorted(path for path in Path(folder).rglob("*") if path.is_file()))
        case ["wait", seconds]:
            wait(float(seconds))
        case ["busy", seconds]:
            busy(float(seconds))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
