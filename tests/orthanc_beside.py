"""Orthanc as deploy/orthanc sets it up: its own settings file and script, from environment variables."""

import os
from pathlib import Path
from typing import Any

from orthanc_api_client import OrthancApiClient

from tests.authority import Signed
from tests.peers import DICOMWEB_PLUGIN, HOST, PYTHON_PLUGIN, Orthanc, Peer, free_port, which_or_skip

FOLDER = Path(__file__).parents[1] / "deploy" / "orthanc"
PLUGINS = Path(os.environ.get("ORTHANC_PLUGINS", Path(PYTHON_PLUGIN).parent))  # set for another Orthanc, first in PATH
PASSWORD, NODE_PASSWORD = "only-for-tests-a", "only-for-tests-n"
STOW_TOKEN = "0123456789abcdef0123456789abcdef"
SENDER = "CT1"


class Beside(Orthanc):
    """Orthanc beside a node. `variables` may be changed before it is started again."""

    def __init__(
        self,
        folder: Path,
        *,
        node_port: int,
        stow_port: int,
        way: str,
        aet: str = "ORTHANC",
        tls: Signed | None = None,
    ) -> None:
        """tls: DICOM goes over TLS both ways; the settings file's lines on it are then in force."""
        Peer.__init__(self, folder)
        for plugin in (DICOMWEB_PLUGIN, PYTHON_PLUGIN):
            which_or_skip(str(PLUGINS / Path(plugin).name))
        self.aet = aet
        self.http_port = free_port()
        self.url = f"http://{HOST}:{self.http_port}/"
        self.dicomweb_url = f"{self.url}dicom-web"
        self.api = OrthancApiClient(self.url, user="admin", pwd=PASSWORD)
        self.settings = FOLDER / "orthanc.json" if tls is None else _with_tls(folder / "orthanc.json", tls)
        self.variables = {
            "ORTHANC_AET": aet,
            "NODE_DICOM_TLS": "false" if tls is None else "true",
            "ORTHANC_STORAGE": folder / "storage",
            "ORTHANC_PLUGINS": PLUGINS,
            "ORTHANC_SCRIPT": FOLDER / "to_the_node.py",
            "ORTHANC_HTTP_PORT": self.http_port,
            "ORTHANC_DICOM_PORT": self.port,
            "ORTHANC_STABLE_AGE": 1,
            "ORTHANC_PASSWORD": PASSWORD,
            "ORTHANC_NODE_PASSWORD": NODE_PASSWORD,
            "ORTHANC_STOW_TOKEN": STOW_TOKEN,
            "ORTHANC_WAY": way,
            "ORTHANC_EVERY": 0.3,
            "ORTHANC_LONGEST_PAUSE": 0.6,
            "ORTHANC_NO_RESULT_HOURS": 0.0005,
            "NODE_DICOM_PORT": node_port,
            "NODE_STOW_URL": f"http://{HOST}:{stow_port}/",
        }

    def command(self) -> list[str]:
        """One process with the settings file as it lies there."""
        said = [f"{name}={value}" for name, value in self.variables.items()]
        return ["/usr/bin/env", *said, "PYTHONDONTWRITEBYTECODE=1", self.path, str(self.settings)]

    def stands(self) -> dict[str, Any]:
        """What its script says of itself."""
        found: dict[str, Any] = self.get("imaging-node")
        return found

    def id_of(self, series_uid: str) -> str:
        """Orthanc's id of a Series Instance UID."""
        (found,) = [one["ID"] for one in self.get("series?expand") if _uid(one) == series_uid]
        return str(found)

    def metadata(self, level: str, orthanc_id: str) -> dict[str, str]:
        """All metadata of a series or study."""
        found: dict[str, str] = self.get(f"{level}/{orthanc_id}/metadata?expand")
        return found

    def labels(self, level: str, orthanc_id: str) -> set[str]:
        """Labels, or the metadata that holds them where Orthanc is older than 1.12.0."""
        if self.version() >= (1, 12):
            return set(self.get(f"{level}/{orthanc_id}/labels"))
        return set(filter(None, self.metadata(level, orthanc_id).get("ImagingNodeLabels", "").split(",")))

    def version(self) -> tuple[int, ...]:
        """As in (1, 10, 1)."""
        return tuple(int(number) for number in self.get("system")["Version"].split("."))


def _with_tls(file: Path, tls: Signed) -> Path:
    text = (FOLDER / "orthanc.json").read_text(encoding="utf-8")
    lines = {
        '// "DicomTlsEnabled"': '"DicomTlsEnabled"',
        '// "DicomTlsCertificate" : "/etc/orthanc/orthanc.pem"': f'"DicomTlsCertificate" : "{tls.certificate}"',
        '// "DicomTlsPrivateKey" : "/etc/orthanc/orthanc.key"': f'"DicomTlsPrivateKey" : "{tls.key}"',
        '// "DicomTlsTrustedCertificates" : "/etc/orthanc/ca.pem"': f'"DicomTlsTrustedCertificates" : "{tls.ca}"',
    }
    for line, said in lines.items():
        assert text.count(line) == 1, line
        text = text.replace(line, said)
    file.write_text(text, encoding="utf-8")
    return file


def _uid(series: dict[str, Any]) -> str:
    return str(series["MainDicomTags"]["SeriesInstanceUID"])
