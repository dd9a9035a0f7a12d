"""A wrong setting stops the start: one line that says what to change, exit status 2, and nothing is left running."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.store import SUMS
from node.records.database import FILE_NAME
from tests.other_engine import other_engine
from tests.peers import HOST
from tests.running_node import settings_for, write_toml
from tests.small_engines import install, network, outside

ONE_LINE = re.compile(r"imaging-node: [^\n]+\n")


def start(folder: Path, raw: dict[str, Any]) -> tuple[int, str]:
    """`imaging-node run` until it gives up: exit status and standard error; its whole process group must be gone."""
    file = write_toml(folder / "node.toml", raw)
    command = [sys.executable, "-m", "node", "run", "-c", str(file)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        said, trouble = process.communicate(timeout=60)
    assert said == ""
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    return process.returncode, trouble


def unknown_key(folder: Path, raw: dict[str, Any]) -> str:
    raw["receiver"]["prot"] = 104
    return r"receiver\.prot: unknown key\. Mend the file and start again\."


def bad_ae_title(folder: Path, raw: dict[str, Any]) -> str:
    raw["receiver"]["ae_title"] = "SEVENTEEN-LETTERS"
    return r"receiver\.ae_title: an AE title has 1 to 16 printable ASCII characters"


def unknown_pipeline(folder: Path, raw: dict[str, Any]) -> str:
    raw["rules"][0]["pipeline"] = "ct-denoize"
    known = "ct-denoise, ct-kernel, head-ct-triage, mr-postcontrast, mra-superres"
    return rf"A rule names pipeline 'ct-denoize'\. Known are {known}\."


def unknown_target(folder: Path, raw: dict[str, Any]) -> str:
    raw["rules"][0] |= {"pipeline": "ct-kernel", "parameters": {"target": "softer"}}
    return r"Parameters of rule 'ct' for ct-kernel: the target 'softer' has no curve; known are soft, sharp.*Mend the"


def parameters_too_many(folder: Path, raw: dict[str, Any]) -> str:
    raw["rules"][0]["parameters"] = {"strength": 0.5}
    return r"Parameters of rule 'ct' for ct-denoise: 'strength' is no parameter of it; it takes none\. Mend the rule\."


def unknown_destination(folder: Path, raw: dict[str, Any]) -> str:
    raw["rules"][0]["destinations"] = ["pacs"]
    return r"rule 'ct' names destination 'pacs'; known are folder\."


def unwritable_spool(folder: Path, raw: dict[str, Any]) -> str:
    (folder / "file").write_bytes(b"")
    raw["node"]["state"] = str(folder / "file" / "state")
    return r"The spool .* cannot be written: Not a directory\. .* set node\.state to another one\."


def missing_engine(folder: Path, raw: dict[str, Any]) -> str:
    (folder / "engines").mkdir()
    raw["engines"] = {"folder": str(folder / "engines")}
    return r"The digests of the engines in .* cannot be read .*sealed by `imaging-node engines add`"


def one_bit(folder: Path, raw: dict[str, Any], file: str) -> str:
    other_engine(folder / "engines")
    path = folder / "engines" / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    raw["engines"] = {"folder": str(folder / "engines")}
    return (
        rf"{file}.* (sha256 is .*, not|is not as it was sealed).* [Ii]nstall the engine again, and find out who changed"
    )


def damaged_weights(folder: Path, raw: dict[str, Any]) -> str:
    return one_bit(folder, raw, "weights/ct_denoise.onnx")


def damaged_specification(folder: Path, raw: dict[str, Any]) -> str:
    return one_bit(folder, raw, "specs/ct_denoise.toml")


def damaged_cases(folder: Path, raw: dict[str, Any]) -> str:
    return one_bit(folder, raw, "cases/ct_denoise.npz")


def damaged_digests(folder: Path, raw: dict[str, Any]) -> str:
    return one_bit(folder, raw, SUMS).replace(SUMS, f"({SUMS}|cases|specs|weights)")


def weights_elsewhere(folder: Path, raw: dict[str, Any]) -> str:
    model = network()
    outside(model, "../../secret.bin", length=4)
    install(folder / "engines", "ct_denoise", model)
    raw["engines"] = {"folder": str(folder / "engines")}
    return r"Engine ct_denoise keeps weights in '../../secret.bin', outside of its folder\. Export the network"


def no_cuda(folder: Path, raw: dict[str, Any]) -> str:
    raw["engines"] = {"backend": "ort-cuda"}
    return r"runs on \[.*\], not with CUDAExecutionProvider\. .* install the extra `gpu`"


def damaged_records(folder: Path, raw: dict[str, Any]) -> str:
    state = Path(raw["node"]["state"])
    state.mkdir(parents=True)
    (state / FILE_NAME).write_bytes(b"no database" * 1000)
    return r"The records in .* cannot be opened: .* restore the file from a backup\."


FAULTS = (
    unknown_key, bad_ae_title, unknown_pipeline, unknown_target, parameters_too_many, unknown_destination,
    unwritable_spool, missing_engine, damaged_weights, damaged_specification, damaged_cases, damaged_digests,
    weights_elsewhere, no_cuda, damaged_records,
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_one_line_says_what_to_change(tmp_path: Path, fault: Callable[[Path, dict[str, Any]], str]) -> None:
    raw = settings_for(tmp_path)
    said = fault(tmp_path, raw)

    status, trouble = start(tmp_path, raw)

    assert status == 2
    assert ONE_LINE.fullmatch(trouble), trouble
    assert re.search(said, trouble), trouble


@pytest.mark.parametrize("part", ["receiver", "page"])
def test_a_port_that_is_taken_is_named_with_its_setting(tmp_path: Path, part: str) -> None:
    with socket.create_server((HOST, 0)) as holder:
        port = holder.getsockname()[1]
        raw = settings_for(tmp_path)
        raw[part]["port"] = port

        status, trouble = start(tmp_path, raw)

    assert status == 2
    assert ONE_LINE.fullmatch(trouble), trouble
    assert f"Port {port} on {HOST} cannot be opened: Address already in use." in trouble
    assert f"Set {part}.host and {part}.port to a free one" in trouble
