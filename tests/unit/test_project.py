"""What rots in a repository without anybody noticing: the lock, the ignored paths, the packaging, the size of files."""

import importlib
import pkgutil
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_FILE = 500  # lines; past it a module is split along a noun
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def tracked(*patterns: str) -> list[Path]:
    """The files that git knows, without binary ones."""
    done = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no git checkout")
    names = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in names if path.is_file() and path.suffix not in {".onnx", ".png"}]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(lines: list[str]) -> set[str]:
    return {canonical(re.split(r"[\s<>=!~;\[]", line)[0]) for line in lines}


def locked(name: str) -> dict[str, str]:
    """Package to version of a lock file."""
    text = (ROOT / "deploy" / "lock" / f"{name}.txt").read_text()
    return {canonical(package): version for package, version in re.findall(r"^(\S+?)==(\S+)", text, re.MULTILINE)}


def test_lock_covers_every_dependency() -> None:
    runtime = requirements(PROJECT["project"]["dependencies"])
    tools = requirements(PROJECT["project"]["optional-dependencies"]["test"])

    assert runtime <= locked("runtime").keys()
    assert runtime | tools <= locked("test").keys()


def test_tests_run_on_the_versions_that_users_get() -> None:
    assert locked("runtime").items() <= locked("test").items()


@pytest.mark.parametrize("name", ["runtime", "test"])
def test_every_locked_package_has_its_hash(name: str) -> None:
    text = (ROOT / "deploy" / "lock" / f"{name}.txt").read_text()
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]

    assert [block.split()[0] for block in blocks if block[0] != "#" and "--hash=sha256:" not in block] == []
    assert re.findall(r"^\s*-(?!-hash)\S+|https?://\S+", text, re.MULTILINE) == []


def test_torch_is_not_among_what_users_get() -> None:
    assert not {"torch", "scipy", "scikit-image"} & locked("test").keys()


def test_every_dependency_is_explained() -> None:
    page = (ROOT / "deploy" / "decisions" / "0001-dependencies.md").read_text()
    extras = PROJECT["project"]["optional-dependencies"].values()
    names = requirements([*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)])

    assert sorted(name for name in names if f"`{name}`" not in page) == []


def test_every_module_imports_without_the_extras() -> None:
    needs_torch = ("engines.networks", "engines.training")
    for package in ("node", "pipelines", "engines"):
        for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            if module.name.startswith(needs_torch) or module.name.endswith("__main__") or ".migrations" in module.name:
                continue
            importlib.import_module(module.name)


def test_every_package_is_packed() -> None:
    """A folder of Python files without `__init__.py` would be missing from the wheel."""
    folders = {path.parent for path in tracked("node/*.py", "pipelines/*.py", "engines/*.py")}

    bare = [folder for folder in folders if not (folder / "__init__.py").is_file()]
    # Alembic runs its scripts from files; they are packed as data.
    assert [folder for folder in bare if "migrations" not in folder.parts] == []


def test_no_file_names_a_machine_or_a_package_index() -> None:
    # Put together here, so that this file does not find itself.
    places = [
        "/ro" + "ot/",
        "/wo" + "rk/",
        "/ho" + "me/[a-z]",
        "/op" + "t/pypi",
        "py" + "pi[.]org",
        "python" + "hosted",
    ]
    pattern = re.compile("|".join(places) + r"|--(extra-)?index-url|--trusted-host|--find-links")
    allowed = {ROOT / "Makefile"}  # its `lock` target says which of these options must not be written
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked()
        if path not in allowed and path != Path(__file__)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if pattern.search(line)
    ]

    assert found == []


def test_files_stay_short_enough_to_read() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in tracked("*.py")}

    assert {str(path): lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


@pytest.mark.parametrize("target", ["demo", "test", "lint", "bench"])
def test_make_knows_the_targets_of_the_readme(target: str) -> None:
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_every_hook_matches_files() -> None:
    """A hook whose pattern matches nothing checks nothing, and says so to nobody."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    names = [str(path.relative_to(ROOT)) for path in tracked("*.py")]
    patterns = re.findall(r"files: (\S+)", hooks)

    assert patterns
    assert [pattern for pattern in patterns if not any(re.search(pattern, name) for name in names)] == []
