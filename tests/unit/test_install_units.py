"""Promises of the units: systemd takes them, they are hardened, and they agree with script, settings and supervisor."""

import configparser
import importlib.util
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from node import supervisor
from node.__main__ import USUAL_SETTINGS
from node.commands.check import check
from node.errors import BadSetting
from node.settings import load
from node.settings.receiver import Receiver

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = DEPLOY / "systemd"
EXAMPLE = DEPLOY / "node.example.toml"
LOOSEST = 20  # of systemd-analyze security, tenths: 2.0 is "OK", a unit without any hardening has 9.2

analyses = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DEPLOY / "install" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _paths() -> dict[str, str]:
    """Names and values of deploy/install/common.sh, as bash has them."""
    said = subprocess.run(
        ["bash", "-c", f". {DEPLOY}/install/common.sh; set -o posix; set"], capture_output=True, text=True, check=True
    ).stdout
    return {name: value.strip("'") for name, value in re.findall(r"^([A-Z_]+)=(.*)$", said, flags=re.MULTILINE)}


def _section(unit: str, section: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in re.split(r"^\[", (UNITS / unit).read_text(encoding="utf-8"), flags=re.MULTILINE):
        if part.startswith(f"{section}]"):
            for key, value in re.findall(r"^([A-Z]\w+)=(.*)$", part, flags=re.MULTILINE):
                found.setdefault(key, []).append(value)
    return found


def _verified(folder: Path, *, more: str = "") -> str:
    """What systemd-analyze verify says of all units; /bin/true stands in for the program."""
    for unit in UNITS.glob("*.*"):
        if unit.suffix != ".conf":
            text = unit.read_text(encoding="utf-8").replace("/opt/imaging-node/current/bin/imaging-node", "/bin/true")
            (folder / unit.name).write_text(text.replace("[Service]\n", f"[Service]\n{more}"), encoding="utf-8")
    names = [str(path) for path in sorted(folder.iterdir())]
    return subprocess.run(["systemd-analyze", "verify", *names], capture_output=True, text=True, check=False).stderr


@analyses
def test_systemd_takes_every_unit(tmp_path):
    said = "\n".join(line for line in _verified(tmp_path).splitlines() if "imaging-node" in line)

    assert said == ""


@analyses
def test_systemd_would_name_a_wrong_line(tmp_path):
    assert "Nonsense" in _verified(tmp_path, more="Nonsense=1\n")


@analyses
@pytest.mark.parametrize("unit", ["imaging-node.service", "imaging-node-backup.service"])
def test_the_unit_is_hardened(tmp_path, unit):
    def exposed(text: str) -> int:
        (tmp_path / unit).write_text(text, encoding="utf-8")
        command = ["systemd-analyze", "security", "--offline=true", f"--threshold={LOOSEST}", "--no-pager"]
        return subprocess.run([*command, str(tmp_path / unit)], capture_output=True, check=False).returncode

    text = (UNITS / unit).read_text(encoding="utf-8")
    assert exposed(text) == 0
    assert exposed(re.sub(r"^(Protect|Restrict|System|Private|Cap).*\n", "", text, flags=re.MULTILINE)) != 0


def test_unit_and_script_know_the_same_places():
    paths, service = _paths(), _section("imaging-node.service", "Service")
    example = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))

    assert service["ExecStart"] == [f"{paths['PROGRAM']}/current/bin/imaging-node run -c {paths['SETTINGS']}"]
    assert paths["SETTINGS"] == str(USUAL_SETTINGS)
    assert service["User"] == service["Group"] == [paths["NAME"]]
    assert f"/var/lib/{service['StateDirectory'][0]}" == paths["STATE"] == example["node"]["state"]
    assert service["StateDirectoryMode"] == ["0700"]
    backup = _section("imaging-node-backup.service", "Service")
    assert f" --to {paths['BACKUPS']} " in backup["ExecStart"][0]
    assert _section("imaging-node-backup.service", "Unit")["AssertPathIsMountPoint"] == [paths["BACKUPS"]]


def test_systemd_waits_longer_for_the_end_than_the_supervisor():
    service = _section("imaging-node.service", "Service")

    assert int(service["TimeoutStopSec"][0].removesuffix("s")) > 2 * supervisor.STOPPING_S
    assert service["RestartPreventExitStatus"] == [str(supervisor.EXIT_BAD_SETTING)]


def test_first_settings_are_settings(tmp_path):
    text = _script("first_settings").first_settings(
        pacs="PACS@10.0.0.5:104", ae_title="NODE", state="/var/lib/imaging-node", plain=True
    )
    (tmp_path / "node.toml").write_text(text, encoding="utf-8")
    settings = load(tmp_path / "node.toml")

    assert (settings.receiver.ae_title, settings.receiver.port, settings.receiver.plain) == (
        "NODE",
        Receiver.model_fields["port"].default,
        True,
    )
    assert [(peer.ae_title, [str(a) for a in peer.addresses]) for peer in settings.peers] == [("PACS", ["10.0.0.5"])]
    assert [(d.ae_title, d.host, d.port) for d in settings.destinations] == [("PACS", "10.0.0.5", 104)]
    assert list(settings.unsafe()) == []


@pytest.mark.parametrize(
    ("pacs", "fix"),
    [
        ("PACS@10.0.0.5:104", "Add --plain"),
        ("PACS@pacs.example.org:104", "PACS@10.0.0.5:104"),
        ("10.0.0.5:104", "PACS@10.0.0.5:104"),
        ('A"@127.0.0.1:104', "PACS@10.0.0.5:104"),
    ],
)
def test_first_settings_that_cannot_be_say_what_to_write(pacs, fix):
    with pytest.raises(BadSetting, match=re.escape(fix)):
        _script("first_settings").first_settings(pacs=pacs, ae_title="NODE", state="/var/lib/imaging-node", plain=False)


def test_an_archive_on_this_machine_opens_nothing_to_others(tmp_path):
    text = _script("first_settings").first_settings(
        pacs="ORTHANC@[::1]:4242", ae_title="NODE", state="/var/lib/imaging-node", plain=False
    )
    (tmp_path / "node.toml").write_text(text, encoding="utf-8")
    settings = load(tmp_path / "node.toml")

    assert settings.receiver.is_local
    assert settings.destinations[0].host == "::1"


def test_what_keeps_a_version_from_starting_is_told_without_calling_anybody(tmp_path):
    text = _script("first_settings").first_settings(
        pacs="PACS@127.0.0.1:1", ae_title="NODE", state=str(tmp_path / "state"), plain=False
    )
    (tmp_path / "good.toml").write_text(text, encoding="utf-8")
    (tmp_path / "bad.toml").write_text(text.replace("[receiver]", "[receiver]\nnonsense = 1"), encoding="utf-8")
    may_start = _script("may_start")

    assert may_start.reasons(check(tmp_path / "good.toml")) == []
    assert "nonsense" in may_start.reasons(check(tmp_path / "bad.toml"))[0]
    assert [line.what for line in check(tmp_path / "good.toml")].count(may_start.FIRST_AFTER) == 1


def test_the_example_needs_nothing_beyond_the_unit():
    assert _script("unit_needs").drop_in(load(EXAMPLE)) == ""


def test_folders_elsewhere_and_low_ports_come_into_a_drop_in(tmp_path):
    text = EXAMPLE.read_text(encoding="utf-8")
    text = text.replace('state = "/var/lib/imaging-node" ', 'state = "/data/node" ').replace(
        "port = 2762", "port = 104"
    )
    at_home = str(Path("/home") / "out folder")
    (tmp_path / "node.toml").write_text(text.replace('"/var/lib/imaging-node-out"', f'"{at_home}"'), encoding="utf-8")
    drop_in = configparser.ConfigParser(strict=False, delimiters=("=",), interpolation=None)
    said = _script("unit_needs").drop_in(load(tmp_path / "node.toml"))
    drop_in.read_string(said)

    assert 'ReadWritePaths=-"/data/node"' in said
    assert f'ReadWritePaths=-"{at_home}"' in said
    assert drop_in["Service"]["ProtectHome"] == "no"
    assert drop_in["Service"]["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"
