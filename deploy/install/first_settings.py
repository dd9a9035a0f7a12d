"""Prints first settings for one archive that sends to the node and gets the results. Run by ../install.sh.

Exit status 1 if what was asked for cannot be: the fact and the fix stand on standard error.
"""

import argparse
import ipaddress
import re
import sys
import tempfile
from pathlib import Path

from node.errors import BadSetting
from node.settings import load

_TEXT = """\
# First settings, written by deploy/install.sh. Every other setting, with what it means:
# /opt/imaging-node/current/share/deploy/node.example.toml
# After a change: imaging-node check, then systemctl restart imaging-node

[node]
state = "{state}"

[receiver]
ae_title = "{ae_title}"
host = "{listen}"
port = 11112
plain = {plain}                      # true: without encryption, for a closed network only; else see [receiver.tls]

# Who may send: title and address must both fit.
[[peers]]
name = "pacs"
ae_title = "{pacs}"
addresses = ["{address}"]

# Where results go.
[[destinations]]
kind = "dicom"
name = "pacs"
ae_title = "{pacs}"
host = "{address}"
port = {port}

# What is processed. Without a rule nothing is.
[[rules]]
name = "ct-denoise"
pipeline = "ct-denoise"
destinations = ["pacs"]

[rules.where]
Modality = "CT"
ImageType = {{ not = "LOCALIZER" }}
"""


def first_settings(*, pacs: str, ae_title: str, state: str, plain: bool) -> str:
    """A settings file that passes. pacs: as in PACS@10.0.0.5:104. raises: BadSetting"""
    found = re.fullmatch(r"([^@\"\\]{1,16})@\[?([0-9A-Fa-f.:]+?)\]?:([0-9]{1,5})", pacs)
    if found is None:
        raise BadSetting(f"--pacs {pacs!a} is no archive.", fix="Write title, address and port: PACS@10.0.0.5:104.")
    try:
        address = ipaddress.ip_address(found[2])
    except ValueError as error:
        raise BadSetting(f"{found[2]} is no address.", fix="Give the archive's IPv4 or IPv6 address.") from error
    if not (plain or address.is_loopback):
        raise BadSetting(
            f"Images would travel between this machine and {address} without encryption.",
            fix="Add --plain if that network is closed; or install without --pacs and fill [receiver.tls].",
        )
    return _TEXT.format(
        state=state,
        ae_title=ae_title,
        listen=str(address) if address.is_loopback else "0.0.0.0",  # noqa: S104  as the default of the setting
        plain="false" if address.is_loopback else "true",
        pacs=found[1],
        address=address,
        port=found[3],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("--pacs", "--ae-title", "--state"):
        parser.add_argument(option, required=True)
    parser.add_argument("--plain", choices=("yes", "no"), required=True)
    asked = parser.parse_args()
    try:
        text = first_settings(pacs=asked.pacs, ae_title=asked.ae_title, state=asked.state, plain=asked.plain == "yes")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "node.toml"
            file.write_text(text, encoding="utf-8")
            load(file)
    except BadSetting as error:
        print(f"{error.message}\nFix: {error.fix}", file=sys.stderr)  # noqa: T201  a script for a person
        return 1
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
