"""Images of what nobody acquired go only where a destination says that it takes them (NETWORKS D6)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node import app
from node.commands.process import _settings
from node.errors import BadSetting
from node.settings import Settings, parse
from pipelines import SHIPPED
from pipelines.ct_denoise import CT_DENOISE
from pipelines.pipeline import Images

INVENTS = replace(CT_DENOISE, name="invents", gives=Images(kind="SCE", marker="SYNTHETIC", operation="Synthesis"))


def settings(tmp_path: Path, *destinations: dict[str, Any], pipeline: str = "invents") -> Settings:
    folders = [{"kind": "folder", "path": str(tmp_path / one["name"]), **one} for one in destinations]
    rule = {"name": "r", "pipeline": pipeline, "destinations": [one["name"] for one in destinations]}
    raw: dict[str, object] = {
        "node": {"state": str(tmp_path)}, "receiver": {"ae_title": "N"}, "destinations": folders, "rules": [rule]
    }  # fmt: skip
    return parse(raw, source="test")


def test_a_rule_to_a_destination_without_consent_keeps_the_node_from_starting(tmp_path: Path) -> None:
    both = settings(tmp_path, {"name": "research", "synthetic": True}, {"name": "pacs"})

    with pytest.raises(BadSetting, match=r"'pacs', which does not say that it takes synth.*synthetic = true"):
        app.pipelines_of(both, [INVENTS])


def test_with_consent_and_for_what_was_acquired_it_starts(tmp_path: Path) -> None:
    assert app.pipelines_of(settings(tmp_path, {"name": "research", "synthetic": True}), [INVENTS])
    assert app.pipelines_of(settings(tmp_path, {"name": "pacs"}, pipeline="ct-denoise"))
    finer = replace(INVENTS, gives=Images(kind="ZSR", marker="AI SUPER-RES Z", operation="Finer slices"))
    assert app.pipelines_of(settings(tmp_path, {"name": "pacs"}), [finer])


def test_a_pipeline_that_nobody_knows_any_more_counts_as_synthesis(tmp_path: Path) -> None:
    invents = app.synthesis_of(settings(tmp_path, {"name": "pacs"}, pipeline="ct-denoise"), [INVENTS])

    assert [invents(name) for name in ("invents", "ct-denoise", "gone")] == [True, False, True]


def test_files_are_synthesized_only_by_name(tmp_path: Path) -> None:
    usual = _settings(tmp_path, tmp_path / "out", None, {}, {})
    named = _settings(tmp_path, tmp_path / "out", "mr-postcontrast", {}, {})

    assert not usual.destinations[0].synthetic
    assert {SHIPPED[rule.pipeline].gives.kind for rule in usual.rules}.isdisjoint({"SCE", "PH"})
    assert named.destinations[0].synthetic
