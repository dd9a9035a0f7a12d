"""The real pair of kernels through a running node, both ways, and as files: valid objects that say what they are."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tests.dicom_lint import entities, lint
from tests.peers import StoreScp, dcmsend, which_or_skip
from tests.running_node import AE_TITLE, RunningNode, cli, settings_for, write_toml

SOFT, SHARP = "ct_headphantom_philips_UB", "ct_headphantom_philips_YA"
UNKNOWN, UNMEASURED = "ct_chest_philips_lidc0314", "ct_abdomen_ge_acrin3"
RULES: tuple[dict[str, Any], ...] = (
    {"name": "as-ub", "pipeline": "ct-kernel", "parameters": {"target": "UB"}},
    {"name": "as-ya", "pipeline": "ct-kernel", "parameters": {"target": "YA"}},
    {
        "name": "soft",
        "pipeline": "ct-kernel",
        "parameters": {"target": "soft", "window_center": 35, "window_width": 90},
        "where": {"ConvolutionKernel": "YA"},
    },
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A node that was sent both series and one with a kernel that nobody measured."""

    node: RunningNode
    storescp: StoreScp
    sent: dict[str, list[Path]]

    def series_uid(self, name: str) -> str:
        return str(pydicom.dcmread(self.sent[name][0], stop_before_pixels=True).SeriesInstanceUID)

    def jobs(self, name: str) -> dict[str, dict[str, Any]]:
        """Jobs of a series by the rule that made them."""
        (one,) = self.node.show(self.series_uid(name))["sets"]
        return {job["rule"]: job for job in one["jobs"]}

    def made(self, name: str, rule: str) -> list[pydicom.Dataset]:
        """The delivered images of a job, in order."""
        uid = self.jobs(name)[rule]["series_uid"]
        found = [pydicom.dcmread(path) for path in self.storescp.files()]
        return sorted((d for d in found if d.SeriesInstanceUID == uid), key=lambda d: int(d.InstanceNumber))


@pytest.fixture(scope="module")
def run(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("kernels")
    sent = {name: sorted((shared_data / "dicom" / name).glob("*.dcm")) for name in (SOFT, SHARP, UNKNOWN, UNMEASURED)}
    with StoreScp(folder / "storescp") as storescp:
        raw = settings_for(folder, destinations=[storescp], rules=RULES, assemble={"quiet_s": 10.0})
        with RunningNode(folder, raw) as node:
            for files in sent.values():
                dcmsend(node.port, files, called=AE_TITLE)
            node.wait_settled(len(sent), timeout_s=240)
            yield Run(node=node, storescp=storescp, sent=sent)


def test_each_series_becomes_what_its_rules_ask_for_and_nothing_else(run: Run) -> None:
    assert {rule: job["state"] for rule, job in run.jobs(SOFT).items()} == {"as-ya": "delivered"}
    assert {rule: job["state"] for rule, job in run.jobs(SHARP).items()} == {"as-ub": "delivered", "soft": "delivered"}
    assert len(run.storescp.files()) == sum(len(run.sent[name]) for name in (SOFT, SHARP, SHARP))


@pytest.mark.parametrize(
    ("name", "rule", "kernel", "window"),
    [
        (SHARP, "as-ub", "YA>UB", (40, 80)),
        (SOFT, "as-ya", "UB>YA", (900, 2500)),
        (SHARP, "soft", "YA>soft", (35, 90)),
    ],
)
def test_a_converted_series_says_what_it_is(
    run: Run, name: str, rule: str, kernel: str, window: tuple[float, float]
) -> None:
    made = run.made(name, rule)
    source = pydicom.dcmread(run.sent[name][0], stop_before_pixels=True)

    assert len(made) == len(run.sent[name])
    for image in made:
        assert image.ConvolutionKernel == f"AI {kernel}"
        # A phantom has no age, and what is not known of an examination is a caution.
        marked = " CAUTION" if "CAUTION" in image.DerivationDescription else ""
        assert image.SeriesDescription == f"AI KERNEL {kernel}{marked} - {source.SeriesDescription}"[:64].rstrip()
        assert list(image.ImageType) == ["DERIVED", "SECONDARY", "AXIAL", "AI_KERNEL"]
        assert (image.WindowCenter, image.WindowWidth) == window
        assert int(image.SeriesNumber) % 100 == 12
        assert image.DerivationCodeSequence[0].CodeValue == "DL_KC"
        assert "Reconstruction kernel conversion by neural network by ct_kernel" in image.DerivationDescription
        assert f'"kernel":"AI {kernel}"' in image.DerivationDescription
        assert '"source_curve":[' in image.DerivationDescription
        assert image.SyntheticData == "NO"


def test_show_names_the_parameters_of_a_job(run: Run) -> None:
    status, said, _ = cli("show", "-c", run.node.file, run.series_uid(SOFT))

    assert status == 0
    assert "with source UB, source_curve [0.83, 0.0, 0.6, 0.25, 0.68], target YA" in said


def test_two_targets_of_one_series_share_no_identity(run: Run) -> None:
    first, second = run.made(SHARP, "as-ub"), run.made(SHARP, "soft")

    assert first[0].SeriesInstanceUID != second[0].SeriesInstanceUID
    assert first[0].SeriesNumber != second[0].SeriesNumber
    assert not {image.SOPInstanceUID for image in first} & {image.SOPInstanceUID for image in second}


def test_sharp_to_soft_takes_noise_and_soft_to_sharp_gives_some(run: Run) -> None:
    def spread(images: list[pydicom.Dataset]) -> float:
        middle = images[len(images) // 2]
        hu = middle.pixel_array * float(middle.RescaleSlope) + float(middle.RescaleIntercept)
        return float((hu[:, 1:] - hu[:, :-1])[(hu[:, 1:] > -200) & (hu[:, 1:] < 300)].std())

    sources = {name: [pydicom.dcmread(path) for path in run.sent[name]] for name in (SOFT, SHARP)}

    assert spread(run.made(SHARP, "as-ub")) < 0.7 * spread(sources[SHARP])
    assert spread(run.made(SOFT, "as-ya")) > 1.2 * spread(sources[SOFT])


def test_what_has_no_curve_is_kept_and_says_what_to_add(run: Run) -> None:
    for name, kernel in ((UNKNOWN, "'D' of 'Philips'"), (UNMEASURED, "'STANDARD' of 'GE MEDICAL SYSTEMS'")):
        (one,) = run.node.show(run.series_uid(name))["sets"]
        assert (one["state"], one["jobs"]) == ("unmatched", [])
        for rule in ("as-ub", "as-ya"):
            assert any(f"kernel {kernel} has no measured curve" in line for line in one["rules"][rule]), one["rules"]


def test_dciodvfy_and_dcentvfy_find_nothing_beyond_the_allow_list(run: Run) -> None:
    which_or_skip("dciodvfy")
    for name in (SOFT, SHARP):
        received = {
            str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): run.node.received(
                str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)
            )
            for path in run.sent[name]
        }
        for job in run.jobs(name).values():
            paths = [path for path in run.storescp.files() if _series_of(path) == job["series_uid"]]
            for path in paths:
                image = pydicom.dcmread(path, stop_before_pixels=True)
                source = received[str(image.SourceImageSequence[0].ReferencedSOPInstanceUID)]
                assert lint(path, source) == []
            assert set(entities([*received.values(), *paths])) <= set(entities(list(received.values())))


def test_files_are_converted_with_the_parameter_of_the_command(shared_data: Path, tmp_path: Path) -> None:
    arguments = ("--pipeline", "ct-kernel", "--set", "target=soft", "--json")

    status, said, trouble = cli("process", shared_data / "dicom" / SHARP, "--to", tmp_path / "out", *arguments)

    assert status == 0, trouble
    found = json.loads(said)
    (series,) = found["series"]
    assert found["delivered"] == 5
    assert series["description"].startswith(("AI KERNEL YA>soft - ", "AI KERNEL YA>soft CAUTION - "))


def test_files_are_converted_with_a_kernel_of_the_settings(shared_data: Path, tmp_path: Path) -> None:
    own = {
        "manufacturer": "Philips*",
        "names": ["UB"],
        "cutoff_per_mm": 1.3,
        "measured_on": "nothing: as if UB were sharp, for this test",
    }
    file = write_toml(tmp_path / "node.toml", settings_for(tmp_path) | {"kernels": [own]})
    arguments = ("-c", file, "--pipeline", "ct-kernel", "--set", "target=soft", "--json")

    status, said, trouble = cli("process", shared_data / "dicom" / SOFT, "--to", tmp_path / "out", *arguments)

    assert status == 0, trouble
    assert json.loads(said)["delivered"] == 5


def _series_of(path: Path) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID)
