"""Says whether a version would start with the settings of this machine; asks no other machine. Run by ../install.sh.

Exit status 1 if not; the reasons stand on standard error. Whether the records fit is the script's own question.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from node.commands.check import Line, check

FIRST_AFTER = "receiver"  # the line of `check` that follows settings, disk and engines; then it calls destinations


def reasons(lines: Iterator[Line]) -> list[str]:
    """What speaks against it."""
    found = []
    for line in lines:
        if line.what == FIRST_AFTER:
            return found
        if line.good is False and line.what != "records":
            found.append(f"{line.what}: {line.text}")
    return found


if __name__ == "__main__":
    against = reasons(check(Path(sys.argv[1])))
    sys.stderr.write("".join(f"{reason}\n" for reason in against))
    sys.exit(bool(against))
