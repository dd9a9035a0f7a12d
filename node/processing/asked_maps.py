"""Rules that ask for a map: whether there can be one, said before a port opens."""

from node.dicom.maps import MAPS
from node.errors import BadSetting
from node.settings.rules import Rule
from pipelines.pipeline import Pipeline


def require(rule: Rule, pipeline: Pipeline) -> None:
    """Raise BadSetting if a rule asks for a map that the pipeline doesn't make."""
    if not rule.map:
        return
    if pipeline.map_of is None or pipeline.gives.kind not in MAPS:
        raise BadSetting(
            f"Rule {rule.name!r} asks for a map, and {pipeline.name} makes none.", fix="Set map = false in the rule."
        )
