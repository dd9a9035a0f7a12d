"""The composed site: every service is kept in its box, and what its files say of ports, paths and users agrees."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from node import app, settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONTAINERS = DEPLOY / "containers"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILES = [CONTAINERS / "Dockerfile", CONTAINERS / "Dockerfile.gpu"]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
PINNED = re.compile(r"[a-z0-9./-]+:[A-Za-z0-9._-]+@sha256:[0-9a-f]{64}")
# Ends after one system call: it needs neither a health check nor a restart. It may change owners, and nothing else.
ONE_SHOT = {"orthanc-folder": ["CHOWN"]}


def open_doors(name: str, service: dict[str, Any]) -> Iterator[str]:
    """What lets a service do more than it has to."""
    if service.get("read_only") is not True:
        yield "its root file system can be written to"
    if service.get("cap_drop") != ["ALL"] or service.get("cap_add", []) != ONE_SHOT.get(name, []):
        yield "capabilities"
    if service.get("security_opt") != ["no-new-privileges:true"] or service.get("privileged"):
        yield "privileges"
    if name not in ONE_SHOT and str(service.get("user", "0")).startswith(("0", "root")):
        yield "user root"
    if not all(service.get(limit) for limit in ("mem_limit", "cpus", "pids_limit")):
        yield "no limit"
    if not {"max-size", "max-file"} <= service.get("logging", {}).get("options", {}).keys():
        yield "logs without an end"
    if name not in ONE_SHOT and (service.get("restart") != "unless-stopped" or "healthcheck" not in service):
        yield "nobody looks after it"
    for port in service.get("ports", ()):
        if not port.startswith(("127.0.0.1:", "${DICOM_BIND:-127.0.0.1}:")):
            yield f"port {port} is open to other machines"
    for key, value in (service.get("environment") or {}).items():
        if re.search("PASSWORD|TOKEN|SECRET|KEY", key) and not value.startswith("/run/secrets/"):
            yield f"a secret in the environment: {key}"
    if "build" not in service and not PINNED.fullmatch(service["image"]):
        yield f"image {service['image']} can change"


def binds() -> Iterator[tuple[str, Path, str]]:
    """Folders and files of this machine in the containers: (service, path here, options)."""
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            source, _, rest = volume.partition(":")
            if source.startswith("."):
                yield name, DEPLOY / source, rest.partition(":")[2]


def dockerfile(path: Path, instruction: str) -> list[str]:
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(rf"^{instruction} +(.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_do_no_more_than_it_has_to(name: str) -> None:
    assert list(open_doors(name, SERVICES[name])) == []


def test_an_open_door_is_found() -> None:
    bare = {"image": "grafana/grafana:latest", "ports": ["3000:3000"], "environment": {"ADMIN_PASSWORD": "admin"}}

    assert len(list(open_doors("bare", bare))) == 10


def test_compose_file_is_valid() -> None:
    vendored = files("check_jsonschema").joinpath("builtin_schemas", "vendor", "compose-spec.json")
    schema = json.loads(vendored.read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)

    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    assert not validator.is_valid({**COMPOSE, "services": {"node": {"imgae": "x"}}})


def test_compose_reads_it_with_the_example_environment() -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed")
    command = [
        "docker-compose",
        "-f",
        "deploy/compose.yaml",
        "--env-file",
        "deploy/containers/example.env",
        "config",
        "-q",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_one_of_the_two_nodes_runs() -> None:
    """They share their records. As it stands it is the one that every machine can run."""
    assert (SERVICES["node"]["profiles"], SERVICES["node-gpu"]["profiles"]) == (["cpu"], ["gpu"])
    assert "\nCOMPOSE_PROFILES=cpu\n" in (CONTAINERS / "example.env").read_text()


def test_what_is_mounted_is_there_and_cannot_be_written_to() -> None:
    found = list(binds())

    assert len(found) > 8
    assert [str(path) for _, path, _ in found if not path.exists()] == []
    assert [str(path) for _, path, options in found if options != "ro"] == []


def test_every_variable_is_in_the_example_environment_with_its_default() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    used = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text))
    shown = dict(re.findall(r"^# ([A-Z_]+)=(.*)$", (CONTAINERS / "example.env").read_text(), re.MULTILINE))

    assert used == shown
    assert not re.search(r"(?<!\$)\$\{?[A-Z_]+(?!\w|:-)", text), "a variable without a default"


def test_settings_of_the_composed_node_pass_and_fit_the_other_containers() -> None:
    found = settings.load(CONTAINERS / "node.toml")
    services = {name: service["networks"] for name, service in SERVICES.items() if "networks" in service}
    orthanc = SERVICES["orthanc"]["environment"]
    (peer,), (out,) = found.peers, found.destinations

    assert app.pipelines_of(found)
    assert found.unsafe() == []
    assert peer.addresses == (services["orthanc"]["dicom"]["ipv4_address"],)
    assert isinstance(out, settings.DicomDestination)
    assert (peer.ae_title, out.ae_title, out.host) == (orthanc["ORTHANC_AET"], orthanc["ORTHANC_AET"], "orthanc")
    assert found.receiver.ae_title == orthanc["NODE_AET"]
    assert orthanc["NODE_HOST"] in services["node"]["dicom"]["aliases"]
    text = (DEPLOY / "orthanc" / "orthanc.json").read_text(encoding="utf-8")
    assert f'"DicomPort" : ${{ORTHANC_DICOM_PORT:-{out.port}}}' in text
    assert f'"Port" : ${{NODE_DICOM_PORT:-{found.receiver.port}}}' in text
    assert published("node") == {found.receiver.port, found.page.port}
    assert published("orthanc") == {out.port, 8042}
    assert any(path.name == "node.toml" for name, path, _ in binds() if name == "node")


def test_monitoring_does_not_see_dicom() -> None:
    networks = {name: set(service.get("networks", ())) for name, service in SERVICES.items()}

    assert {name for name, some in networks.items() if len(some) > 1} == {"node", "node-gpu"}
    assert networks["orthanc"] == {"dicom"}
    assert all(networks[name] == {"monitoring"} for name in ("prometheus", "alertmanager", "grafana", "dcgm-exporter"))


def test_prometheus_finds_its_targets_by_the_names_of_the_services() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    lists = [job["file_sd_configs"] for job in config["scrape_configs"] if "file_sd_configs" in job]
    lists += [manager["file_sd_configs"] for manager in config["alerting"]["alertmanagers"]]
    patterns = {pattern for one in lists for discovery in one for pattern in discovery["files"]}
    found = {path for pattern in patterns for path in (CONTAINERS).glob(pattern)}
    targets = {target for path in found for group in yaml.safe_load(path.read_text()) for target in group["targets"]}

    assert "imaging-node" in {job["job_name"] for job in config["scrape_configs"]}, "rules and dashboards ask for it"
    assert targets == {f"node:{settings.Page().port}", "alertmanager:9093"}
    assert {target.partition(":")[0] for target in targets} <= SERVICES.keys()
    assert {path.name for path in (CONTAINERS / "targets").iterdir()} - {path.name for path in found} <= {
        "dcgm-exporter.yml"
    }


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_image_and_compose_and_unit_agree(path: Path) -> None:
    service = SERVICES["node" if path.name == "Dockerfile" else "node-gpu"]
    unit = (DEPLOY / "systemd" / "imaging-node.service").read_text(encoding="utf-8")
    ports = {settings.Receiver(ae_title="X").port, 2762, settings.Page().port, 8081}

    assert dockerfile(path, "USER") == [service["user"]] == ["10001:10001"]
    assert {int(port) for port in dockerfile(path, "EXPOSE")[0].split()} == ports
    assert service["image"].partition("-gpu")[0] == f"imaging-node:{VERSION}"
    assert f"VERSION={VERSION}" in dockerfile(path, "ARG")
    (health,) = dockerfile(path, "HEALTHCHECK")
    assert yaml.safe_load(health.partition("CMD ")[2]) == service["healthcheck"]["test"][1:]
    assert f"--interval={service['healthcheck']['interval']} " in health
    assert service["build"]["dockerfile"] == str(path.relative_to(ROOT))
    state = dockerfile(path, "VOLUME")[0]
    mounts = [re.sub(r"\$\{.*?\}", "a", volume).split(":")[1] for volume in service["volumes"]]
    assert mounts == ["/etc/imaging-node/node.toml", state, "/var/backups/imaging-node"]
    assert f"{state} {mounts[-1]} " in dockerfile(path, "RUN")[-1], (
        "made in the image, so that a new volume is the node's own"
    )
    assert f"WorkingDirectory={state}\n" in unit
    assert f"-c {mounts[0]}\n" in unit
    assert f"TimeoutStopSec={service['stop_grace_period']}\n" in unit
    assert f"LimitNOFILE={service['ulimits']['nofile']}\n" in unit
    assert f"TasksMax={service['pids_limit']}\n" in unit


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_image_is_built_from_what_is_pinned(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    (base,) = [argument.removeprefix("BASE=") for argument in dockerfile(path, "ARG") if argument.startswith("BASE=")]
    (lock,) = [argument.removeprefix("LOCK=") for argument in dockerfile(path, "ARG") if argument.startswith("LOCK=")]

    assert PINNED.fullmatch(base)
    assert f'base.name="{base.partition("@")[0]}"' in text
    assert "--require-hashes" in text
    assert "--only-binary=:all:" in text
    locked = (DEPLOY / "lock" / f"{lock}.txt").read_text(encoding="utf-8")
    assert not re.search(r"^tensorrt", locked, re.MULTILINE), "its licence excludes medical use"
    runtimes = re.findall(r"^(onnxruntime\S*)==", locked, re.MULTILINE)
    assert runtimes == ["onnxruntime" if lock == "runtime" else "onnxruntime-gpu"]


def test_links_of_the_packages_get_into_the_build() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    links = [
        path
        for package in ("node", "pipelines", "engines")
        for path in (ROOT / package).rglob("*")
        if path.is_symlink()
    ]

    assert links
    for link in links:
        target = str(link.resolve().relative_to(ROOT))
        assert any(target == entry or target.startswith(f"{entry}/") for entry in allowed), target


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path, tmp_path: Path) -> None:
    hadolint = shutil.which("hadolint", path=path_of("hadolint"))
    assert hadolint is not None
    done = subprocess.run([hadolint, str(path)], capture_output=True, text=True, check=False)
    assert done.stdout == ""

    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM debian:latest\nRUN cd /tmp && sudo apt-get install gcc\n")
    assert subprocess.run([hadolint, str(bad)], capture_output=True, check=False).returncode != 0


def test_prepare_makes_what_compose_asks_for_once(tmp_path: Path) -> None:
    copy = shutil.copytree(CONTAINERS, tmp_path / "containers", ignore=shutil.ignore_patterns("secrets"))
    secrets = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}

    def run() -> dict[str, str]:
        subprocess.run([copy / "prepare.sh"], check=True, capture_output=True)
        return {path.name: path.read_text() for path in (copy / "secrets").iterdir()}

    made = run()
    assert made.keys() == secrets
    assert run() == made
    assert stat.S_IMODE((copy / "secrets").stat().st_mode) == 0o700
    assert all(len(text) >= 32 for name, text in made.items() if name != "alertmanager-mail-password")
    assert len(set(made.values())) == len(made)
    assert (tmp_path / ".env").read_text() == (CONTAINERS / "example.env").read_text()
    ignored = ["deploy/.env", *(f"deploy/containers/secrets/{name}" for name in secrets)]
    done = subprocess.run(["git", "check-ignore", *ignored], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 128 or done.stdout.split() == ignored, "git would take a secret"


def test_pin_shows_and_writes_what_the_registries_have_now(tmp_path: Path) -> None:
    deploy = tmp_path / "deploy"
    shutil.copytree(CONTAINERS, deploy / "containers", ignore=shutil.ignore_patterns("secrets"))
    shutil.copy(DEPLOY / "compose.yaml", deploy)
    text = "".join(path.read_text() for path in (DEPLOY / "compose.yaml", *DOCKERFILES))
    pinned = dict(image.split("@") for image in PINNED.findall(text))
    now = pinned | {next(name for name in pinned if "prometheus:" in name): f"sha256:{'a' * 64}"}
    skopeo = tmp_path / "bin" / "skopeo"
    skopeo.parent.mkdir()
    skopeo.write_text(
        "#!/bin/sh\ncase $4 in\n"
        + "".join(f"docker://{name}) echo {digest};;\n" for name, digest in now.items())
        + "esac\n"
    )
    skopeo.chmod(0o755)

    def pin(*options: str) -> subprocess.CompletedProcess[str]:
        command = [deploy / "containers" / "pin.sh", *options]
        environment = {"PATH": f"{skopeo.parent}:/usr/bin:/bin"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    asked = pin()
    assert (asked.returncode, asked.stdout.count("differs"), asked.stdout.count("same")) == (1, 1, len(pinned) - 1)
    assert pin("--write").returncode == 0
    assert f"@sha256:{'a' * 64}\n" in (deploy / "compose.yaml").read_text()
    assert pin().returncode == 0


def published(name: str) -> set[int]:
    """Ports of a container that reach this machine."""
    return {int(port.rpartition(":")[2]) for port in SERVICES[name]["ports"]}


def path_of(tool: str) -> str:
    """PATH with the test tools; skips if the tool is not there."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    if shutil.which(tool, path=path) is None:
        pytest.skip(f"{tool} is not installed: make test installs it")
    return path
