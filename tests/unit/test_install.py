"""Promises of deploy/install.sh that need no installation: what it refuses, and how it says so.

The installation itself is tried by deploy/try-clean-root.sh. Here the script runs where it can change nothing: all is
read-only to it but /opt and /run, which are empty and its own.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
SCRIPT = DEPLOY / "install.sh"

_CAGE = """
mount -t tmpfs -o size=20m none /opt && mount -t tmpfs none /run && mkdir -p /run/systemd/system /run/lock &&
mount -o remount,bind,ro / && eval "$BEFORE" && exec "$@"
"""


def _caged(*options: str, before: str = "true") -> subprocess.CompletedProcess[str]:
    """The script as root in a mount namespace. before: a command in it, run first"""
    command = ["unshare", "--mount", "bash", "-c", _CAGE, "cage", str(SCRIPT), *options]
    environment = {**os.environ, "BEFORE": before, "LC_ALL": "C"}
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, timeout=60, check=False
    )


def _may_unshare() -> bool:
    if os.getuid() != 0 or shutil.which("unshare") is None:
        return False
    trial = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/opt"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


caged = pytest.mark.skipif(not _may_unshare(), reason="needs root and a mount namespace (unshare)")


def _old_python(folder: Path) -> str:
    """A Python that is too old, as far as the script asks it."""
    path = folder / "python3.9"
    path.write_text('#!/bin/sh\ncase "$2" in *sys.exit*) exit 1 ;; *) echo 3.9 ;; esac\n', encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_help_names_every_option():
    done = subprocess.run([str(SCRIPT), "--help"], capture_output=True, text=True, check=True)

    taken = set(re.findall(r"^ {4}(--[a-z-]+)", SCRIPT.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert taken
    assert {option for option in taken if option not in done.stdout} == set()


@pytest.mark.parametrize(
    ("options", "fact", "fix"),
    [
        (["--upgrade"], "There is no option --upgrade", "--help"),
        (["--with", "gpu"], "There is no extra gpu", "--with mr"),
        (["--wheels"], "--wheels needs a value", "--help"),
        (["--purge"], "--purge goes with --remove", "both"),
    ],
)
def test_a_wrong_option_is_named_with_the_fix(options, fact, fix):
    done = subprocess.run([str(SCRIPT), *options], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert fact in done.stderr
    assert fix in done.stderr.partition("Fix: ")[2]


def test_nobody_but_root_installs():
    drop = ["setpriv", "--reuid=65534", "--clear-groups"] if os.getuid() == 0 else []
    done = subprocess.run([*drop, str(SCRIPT)], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "Only root can install" in done.stderr
    assert "Fix: sudo deploy/install.sh" in done.stderr


@caged
def test_a_full_disk_is_met_before_anything_is_written():
    done = _caged()

    assert done.returncode == 1
    assert re.search(r"The disk of /opt/imaging-node has \d+ MB free; the program needs 600", done.stderr)
    assert "Fix: Make room" in done.stderr


@caged
def test_an_old_python_is_named_with_what_to_do(tmp_path):
    done = _caged("--python", _old_python(tmp_path))

    assert done.returncode == 1
    assert "needs Python 3.11 or newer; " in done.stderr
    assert "has: 3.9." in done.stderr
    assert "Fix: Give the path of Python 3.11 or newer to --python" in done.stderr


@caged
def test_without_systemd_nothing_is_half_installed():
    done = _caged(before="rmdir /run/systemd/system")

    assert done.returncode == 1
    assert "systemd does not run this machine" in done.stderr
    assert "Fix: --no-start" in done.stderr


@caged
@pytest.mark.parametrize(
    ("options", "fix"),
    [
        (["--pacs", "10.0.0.5:104", "--plain"], "PACS@10.0.0.5:104"),
        (["--pacs", "PACS@10.0.0.5:104"], "Add --plain if that network is closed"),
        (["--plain"], "Give both"),
        (["--ask"], "Give --pacs"),
    ],
)
def test_first_settings_that_cannot_be_are_met_before_minutes_of_work(options, fix):
    done = _caged(*options)

    assert done.returncode == 1
    assert fix in done.stderr.partition("Fix: ")[2]


@caged
def test_two_runs_at_a_time_are_one():
    done = _caged(before="exec 8>/run/lock/imaging-node-install.lock; flock 8")

    assert done.returncode == 1
    assert "Another deploy/install.sh is at work" in done.stderr


@caged
def test_a_failure_nobody_thought_of_names_the_version_that_goes_on():
    done = _caged(
        before="mount -t tmpfs -o size=2g none /opt; mkdir -p /opt/imaging-node; ln -s 0.0.9 /opt/imaging-node/current"
    )

    assert done.returncode == 1  # the rest of the machine is read-only: it cannot make the user
    assert "failed: " in done.stderr
    assert "Version 0.0.9 is in use as before" in done.stderr


@caged
def test_there_is_nothing_to_roll_back_to_on_a_new_machine():
    done = _caged("--roll-back")

    assert done.returncode == 1
    assert "There is no version before" in done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
@pytest.mark.parametrize("script", ["install.sh", "try-clean-root.sh", "orthanc/setup.sh"])
def test_scripts_pass_shellcheck(script):
    done = subprocess.run(["shellcheck", "-x", str(DEPLOY / script)], capture_output=True, text=True, check=False)

    assert done.stdout == ""
    assert done.returncode == 0
