"""Health check of the composed Orthanc: does it answer a question that needs its database? Exit status 0 if so."""

import base64
import pathlib
import sys
import urllib.request

PASSWORD = pathlib.Path("/run/secrets/orthanc-password").read_text(encoding="utf-8").strip()
URL = "http://127.0.0.1:8042/changes?last"

asked = urllib.request.Request(URL)
asked.add_header("Authorization", "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode())
with urllib.request.urlopen(asked, timeout=8.0) as answer:  # noqa: S310  as above
    sys.exit(0 if answer.status == 200 else 1)
