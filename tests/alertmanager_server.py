"""Debian's Alertmanager with the site's routes and inhibitions; it tells nobody."""

import http.client
import json
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import yaml

from tests.peers import HOST, Peer

SETTINGS: Final = Path(__file__).parents[1] / "deploy" / "alertmanager" / "alertmanager.yml"


class Alertmanager(Peer):
    """What rings, after all that is silenced by something larger."""

    tool = "prometheus-alertmanager"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        settings = yaml.safe_load(SETTINGS.read_text(encoding="utf-8"))
        settings["receivers"] = [{"name": one["name"]} for one in settings["receivers"]]
        del settings["global"]
        self.settings = folder / "alertmanager.yml"
        self.settings.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")

    def command(self) -> list[str]:
        """One process, on this machine only, that looks for no others."""
        return [
            self.path,
            f"--config.file={self.settings}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address={HOST}:{self.port}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            return self.ringing() is not None
        except OSError:
            return False

    def tell(self, alerts: Sequence[Mapping[str, str]]) -> None:
        """As Prometheus does: the labels of each alert that fires."""
        body = json.dumps([{"labels": dict(one)} for one in alerts]).encode()
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        with closing(connection):
            connection.request("POST", "/api/v2/alerts", body, {"Content-Type": "application/json"})
            assert connection.getresponse().status == 200

    def ringing(self) -> list[dict[str, str]]:
        """The labels of what somebody is told of now."""
        chosen = "active=true&inhibited=false&silenced=false"
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/api/v2/alerts?{chosen}", timeout=10) as answer:
            return [one["labels"] for one in json.load(answer)]
