"""Every guard of super-resolution with what it has to let pass and what it has to find."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.slabs import averaged, consistent, cubic_weights, tof_unit
from pipelines.mra_superres import MRA_SUPERRES
from pipelines.pipeline import Check, Checked
from pipelines.report import Finding, Verdict
from pipelines.steps.consistency import finer_grid, measured_kept, not_negative
from pipelines.steps.guards_aneurysm import cells_of, probe_aneurysms, sphere_in
from pipelines.steps.guards_superres import through_plane
from pipelines.steps.guards_tof import arteries_stand_out, slab_spacing
from pipelines.volume import Volume, finer
from tests.tof_phantom import angiography
from tests.unit.test_mra_superres import headers

FACTOR, SLABS = 4, 10
Stack = NDArray[np.float32]
Again = Callable[[NDArray[np.float32], int], Stack]


def by_cubic(source: Stack, factor: int = FACTOR) -> Stack:
    """Cubic interpolation with the mean of every slab kept: what the network starts from."""
    wide = np.pad(source, ((2, 2), (0, 0), (0, 0)), mode="edge")
    made = [
        consistent(np.tensordot(cubic_weights(factor).astype(np.float32), wide[i : i + 5], axes=1), source[i])
        for i in range(len(source))
    ]
    return np.concatenate(made)


THIN = angiography((SLABS * FACTOR, 144, 120), seed=3).astype(np.float32)
SOURCE = averaged(THIN, FACTOR)
MADE = by_cubic(SOURCE)
ARTERIES = tof_unit(SOURCE)
GUARD = through_plane(
    least_added=0.8, most_added=1.2, least_order=0.6, most_border=6.0, most_invented=0.15, most_removed=0.2
)
PROBE = probe_aneurysms(least=0.05, most_gain=1.1)


def volume(voxels: Stack, factor: int = 1) -> Volume:
    affine = np.diag([0.6, 0.6, 4.0, 1.0])[:, [2, 1, 0, 3]]
    return Volume(voxels=voxels.astype(np.float32), affine=finer(affine, factor), unit="MR")


def cubic_again(image: NDArray[np.float32], index: int) -> Stack:
    """What cubic interpolation makes with another slab at that index."""
    changed = SOURCE.copy()
    changed[index] = image
    return by_cubic(changed)[index * FACTOR : (index + 1) * FACTOR]


def repeated(image: NDArray[np.float32], index: int) -> Stack:
    return np.repeat(image[None], FACTOR, axis=0)


def case(result: Stack, *, source: Stack = SOURCE, again: Again = cubic_again, **parameters: Any) -> Checked:
    return Checked(
        source=volume(source),
        result=volume(result, FACTOR),
        headers=[{**one, "SpacingBetweenSlices": ("4",)} for one in headers()],
        again=again,
        parameters={"step": 1.0, "consistency": "average", **parameters},
        facts={"arteries": ARTERIES},
        factor=FACTOR,
    )


def found(check: Check, given: Checked) -> dict[str, Finding]:
    return {finding.name: finding for finding in check(given)}


def verdicts(check: Check, given: Checked) -> dict[str, Verdict]:
    return {name: finding.verdict for name, finding in found(check, given).items()}


def test_a_good_result_passes_every_guard() -> None:
    for check in (
        finer_grid(),
        not_negative(),
        measured_kept(),
        GUARD,
        PROBE,
        slab_spacing(tolerance=0.05, overlap=1.4),
    ):
        assert set(verdicts(check, case(MADE)).values()) == {Verdict.PASS}, found(check, case(MADE))


def blurred(made: Stack) -> Stack:
    made[20] = 0.5 * (made[20] + np.roll(made[20], 2, axis=1))
    return made


def shifted(made: Stack) -> Stack:
    return np.concatenate([made[:1], made[:-1]])


def brighter(made: Stack) -> Stack:
    return made + np.float32(0.005 * ARTERIES)


@pytest.mark.parametrize("fault", [blurred, shifted, brighter])
def test_whatever_happens_to_the_mean_is_found(fault: Callable[[Stack], Stack]) -> None:
    assert verdicts(measured_kept(), case(fault(MADE.copy())))["measured_kept"] is Verdict.REJECT


def test_frequencies_are_judged_where_those_are_kept() -> None:
    one = found(measured_kept(), case(MADE, consistency="fourier"))["measured_kept"]

    assert "Frequencies" in one.text
    assert one.verdict is Verdict.REJECT  # the mean was kept instead


def test_a_slice_below_zero_is_found() -> None:
    made = MADE.copy()
    made[7, 3, 3] = -1.0

    assert verdicts(not_negative(), case(made))["not_negative"] is Verdict.REJECT


def test_slices_in_another_place_are_found() -> None:
    given = case(MADE)
    moved = Checked(**{**vars(given), "result": volume(MADE, 2)})
    fewer = Checked(**{**vars(given), "result": volume(MADE[:-1], FACTOR)})

    assert verdicts(finer_grid(), moved)["finer_grid"] is Verdict.REJECT
    assert verdicts(finer_grid(), fewer)["finer_grid"] is Verdict.REJECT
    for check in (not_negative(), measured_kept(), GUARD, PROBE):  # nothing can be compared, and nothing is raised
        assert set(verdicts(check, fewer).values()) == {Verdict.REJECT}


def test_slabs_that_are_only_repeated_are_no_super_resolution() -> None:
    told = verdicts(GUARD, case(np.repeat(SOURCE, FACTOR, axis=0)))

    assert told["null_energy"] is told["order"] is Verdict.REJECT


def test_too_much_between_the_slices_is_found() -> None:
    slabs = np.repeat(SOURCE, FACTOR, axis=0)

    assert verdicts(GUARD, case(slabs + 1.5 * (MADE - slabs)))["null_energy"] is Verdict.REJECT


def test_slices_in_the_wrong_order_are_found() -> None:
    one = MADE.copy()
    one[[17, 18]] = one[[18, 17]]
    all_of_them = MADE.reshape(SLABS, FACTOR, *MADE.shape[1:])[:, ::-1].reshape(MADE.shape)

    assert verdicts(GUARD, case(one))["order"] is Verdict.REJECT
    assert "slice 5" in found(GUARD, case(one))["order"].text
    assert verdicts(GUARD, case(all_of_them))["order"] is Verdict.REJECT


def test_flicker_at_the_borders_of_slabs_is_found() -> None:
    made = MADE.copy()
    slabs = np.repeat(SOURCE, FACTOR, axis=0)
    made = slabs + 0.2 * (made - slabs)  # flat within the slabs, so that all of the change lies between them

    assert verdicts(GUARD, case(made))["borders"] is Verdict.REJECT


def quiet() -> tuple[slice, slice]:
    """A place of tissue, 8 by 8 pixels, that is the flattest of slab 5."""
    y, x, high, wide = cells_of(SOURCE[3:8], (6.0, 6.0), ARTERIES)[0]
    return slice(y + high // 2 - 4, y + high // 2 + 4), slice(x + wide // 2 - 4, x + wide // 2 + 4)


def test_a_thing_that_no_slab_supports_is_found_though_the_mean_is_kept() -> None:
    rows, columns = quiet()
    made = MADE.copy()
    slab = made[20:24].copy()
    slab[1, rows, columns] += np.float32(0.6 * ARTERIES)
    made[20:24] = consistent(slab, SOURCE[5])

    assert verdicts(measured_kept(), case(made))["measured_kept"] is Verdict.PASS
    told = found(GUARD, case(made))["invented"]
    assert told.verdict is Verdict.REJECT
    assert "slice 6" in told.text


def test_a_vessel_that_a_thin_slice_lost_is_found() -> None:
    source, thin = SOURCE.copy(), MADE.copy()
    source[3:8, 60:66, 50:56] = ARTERIES  # through five slabs
    made = by_cubic(source)
    assert verdicts(GUARD, case(made, source=source))["removed"] is Verdict.PASS
    thin = made.copy()
    thin[21, 60:66, 50:56] = 0.4 * ARTERIES

    assert verdicts(GUARD, case(thin, source=source))["removed"] is Verdict.REJECT


def test_a_network_that_does_not_separate_slices_loses_the_probe() -> None:
    good, bad = found(PROBE, case(MADE)), found(PROBE, case(np.repeat(SOURCE, FACTOR, axis=0), again=repeated))

    assert good["probe_aneurysm"].value is not None
    assert good["probe_aneurysm"].verdict is Verdict.PASS
    assert bad["probe_aneurysm"].value == pytest.approx(0.0, abs=1e-5)
    assert bad["probe_aneurysm"].verdict is Verdict.REJECT


def test_a_sphere_is_averaged_over_thin_slices_as_it_is() -> None:
    share = sphere_in(FACTOR, (40, 40), (0.05, 0.05), 1.0)

    assert float(share.sum()) * 0.05 * 0.05 / FACTOR == pytest.approx(np.pi / 6.0, rel=0.01)  # volume, diameter 1
    assert np.allclose(share, share[::-1])
    assert share[1].sum() > 1.5 * share[0].sum()


def test_noise_that_grows_and_a_result_that_is_not_the_networks_are_found() -> None:
    def louder(image: NDArray[np.float32], index: int) -> Stack:
        return SOURCE[index] + 1.3 * (image - SOURCE[index]) + (cubic_again(SOURCE[index], index) - SOURCE[index])

    made = MADE.copy()
    made[21] += 0.03 * ARTERIES  # the mean of the slab is kept
    made[22] -= 0.03 * ARTERIES

    assert verdicts(PROBE, case(MADE, again=louder))["gain"] is Verdict.REJECT
    assert verdicts(PROBE, case(made))["gain"] is Verdict.REJECT  # of 10 slabs the sixth is looked at


def test_the_distance_of_slices_has_witnesses() -> None:
    guard = slab_spacing(tolerance=0.05, overlap=1.45)

    def told(**changes: Any) -> Verdict:
        given = case(MADE)
        wrong = [{**one, **{name: (text,) for name, text in changes.items()}} for one in given.headers]
        return verdicts(guard, Checked(**{**vars(given), "headers": wrong}))["slab_spacing"]

    assert told() is Verdict.PASS
    assert told(SpacingBetweenSlices="6") is Verdict.REJECT
    assert told(SliceThickness="3") is Verdict.REJECT
    assert told(SliceThickness="5.2") is Verdict.CAUTION
    assert verdicts(guard, Checked(**{**vars(case(MADE)), "headers": ()}))["slab_spacing"] is Verdict.CAUTION


def test_arteries_stand_out_of_an_angiography_and_of_nothing_else() -> None:
    guard = arteries_stand_out(most=0.1)
    bright = 900.0 * (SOURCE / 900.0) ** 0.25

    assert verdicts(guard, case(MADE))["arteries"] is Verdict.PASS
    given = Checked(**{**vars(case(MADE, source=bright)), "facts": {"arteries": tof_unit(bright)}})
    assert verdicts(guard, given)["arteries"] is not Verdict.PASS


def test_not_a_number_anywhere_holds() -> None:
    made = MADE.copy()
    made[21, 40, 40] = np.nan

    told = [finding for check in MRA_SUPERRES.checks for finding in check(case(made))]

    rejected = {finding.name for finding in told if finding.verdict is Verdict.REJECT}
    assert {"finite", "not_negative", "measured_kept", "null_energy"} <= rejected
