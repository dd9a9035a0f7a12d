"""Computed identifiers: the same work makes the same UID, anything else another one."""

import pytest

from node.dicom import uids

WORK = {
    "kind": "DN",
    "study_uid": "1.2.3",
    "model": "ct_denoise",
    "version": "1.0.0",
    "weights_sha256": "ab" * 32,
    "parameters_sha256": "cd" * 32,
    "input_digest": "ef" * 32,
    "generation": 0,
}


def test_a_repeat_makes_the_same_uids_in_every_version_of_the_node() -> None:
    assert uids.series_uid(**WORK) == "2.25.799617124478927785119594575333113394"
    assert uids.instance_uid(**WORK, role="image", index=1) == "2.25.74895693066369815609540918316572995220"


@pytest.mark.parametrize("changed", WORK)
def test_each_part_of_the_work_changes_the_uids(changed: str) -> None:
    other = WORK | {changed: 1 if changed == "generation" else f"{WORK[changed]}x"}

    assert uids.series_uid(**other) != uids.series_uid(**WORK)
    assert uids.instance_uid(**other, role="image", index=1) != uids.instance_uid(**WORK, role="image", index=1)


def test_parts_that_join_to_the_same_text_make_different_uids() -> None:
    assert uids.duid("a", "b") != uids.duid("ab")


def test_a_part_that_could_forge_a_separator_is_refused() -> None:
    with pytest.raises(ValueError, match="separator"):
        uids.duid("a\x1fb")


def test_uids_are_well_formed_and_at_most_44_characters() -> None:
    made = [uids.duid("instance", number) for number in range(1000)]

    assert all(uids.is_well_formed(uid) and len(uid) <= 44 for uid in made)
    assert len(set(made)) == 1000


@pytest.mark.parametrize("uid", ["", "1", "1.02", "1..2", "1.2.", ".1.2", "1.2\0", "../../evil", "1." * 32 + "1"])
def test_what_is_no_uid_is_told_apart(uid: str) -> None:
    assert not uids.is_well_formed(uid)


def test_the_input_digest_ignores_order_and_knows_pixels() -> None:
    pairs = [("1.2.1", "aa"), ("1.2.2", "bb")]

    assert uids.input_digest(pairs) == uids.input_digest(reversed(pairs))
    assert uids.input_digest(pairs) != uids.input_digest([("1.2.1", "bb"), ("1.2.2", "aa")])


@pytest.mark.parametrize("pairs", [[], [("1.2", "aa"), ("1.2", "bb")], [("1.2\x1f", "aa")]])
def test_the_input_digest_refuses_what_is_ambiguous(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match="input digest"):
        uids.input_digest(pairs)
