"""What the statement is about: one configuration, and the tables of the code that serve it."""

from collections.abc import Mapping
from dataclasses import dataclass

from engines.engine import EngineSpec
from node.settings import Settings
from pipelines.pipeline import Pipeline


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One configuration.

    version:   of the node
    pipelines: those that rules name
    specs:     engine name -> its specification
    """

    settings: Settings
    version: str
    pipelines: Mapping[str, Pipeline]
    specs: Mapping[str, EngineSpec]
