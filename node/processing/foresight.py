"""What will probably be made of a slice whose series is not complete: the rules, asked about this slice alone.

A wrong guess costs work and nothing else: jobs are made by `stages/route.py`, from the whole set.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from engines.engine import EngineSpec
from node.dicom import codes, geometry
from node.dicom.gate import ineligible
from node.dicom.scan import Header
from node.processing.planes import Recipe
from node.settings import Rule
from node.stages.route import outside
from pipelines.match import misfits
from pipelines.pipeline import Parameters, Pipeline, Tilt
from pipelines.volume import pixel_mm

_SINGLE: Final = frozenset({"", "0", "1"})


@dataclass(frozen=True, kw_only=True)
class Expected:
    """One thing that is to be made of a slice."""

    pipeline: Pipeline
    parameters: Parameters
    recipe: Recipe


def recipe_of(pipeline: Pipeline, spec: EngineSpec, parameters: Parameters, *, maker: str) -> Recipe:
    """All that shapes a slice of a result beside the slice."""
    return Recipe(
        pipeline=pipeline.name,
        version=pipeline.version,
        engine_sha256=spec.sha256,
        parameters=parameters.values,
        pixel_mm=None if pipeline.feeds is None else parameters.pixel_mm,
        maker=maker,
    )


def expected(
    header: Header,
    rules: Sequence[Rule],
    pipelines: Mapping[str, Pipeline],
    specs: Mapping[str, EngineSpec],
    *,
    maker: str,
    today: Callable[[], date],
) -> list[Expected]:
    """What the rules would have made of a series of such slices; nothing for what cannot be made slice by slice."""
    if (
        header.get("SOPClassUID", ("",))[0] not in codes.MODALITIES
        or not set(header.get("NumberOfFrames", ())) <= _SINGLE
    ):
        return []
    found = geometry.stack([header])
    if [reason for reason in ineligible([header], today=today()) if reason != found.problem]:
        return []
    wanted: dict[str, Expected] = {}
    for rule in rules:
        pipeline = pipelines[rule.pipeline]
        spec = specs[pipeline.engine]
        whole = pipeline.roles or pipeline.triage or pipeline.takes.tilt is Tilt.CORRECT
        if whole or spec.z_support != 0 or pipeline.context:
            continue  # needs other slices
        settled = pipeline.parameters.settle(rule.parameters, [header])
        takes = replace(pipeline.takes, minimum_slices=1)
        if settled.reasons or misfits(rule.where, [header]) or outside(takes, [header], found):
            continue
        # As a job gets them back from the records: plain JSON.
        values = json.loads(json.dumps(settled.values))
        parameters = Parameters(values=values, pixel_mm=pixel_mm(geometry.affine([header, header])))
        recipe = recipe_of(pipeline, spec, parameters, maker=maker)
        wanted[recipe.key] = Expected(pipeline=pipeline, parameters=parameters, recipe=recipe)
    return list(wanted.values())
