"""`imaging-node conformance`: the DICOM conformance statement of a configuration."""

from importlib.metadata import version
from pathlib import Path

from node import app
from node.conformance.facts import Facts
from node.conformance.statement import statement
from node.settings import load


def conformance(settings_file: Path) -> str:
    """The statement as Markdown. Raises BadSetting."""
    settings = load(settings_file)
    pipelines = app.pipelines_of(settings)
    specs = app.specs_of(settings, pipelines)
    return statement(Facts(settings=settings, version=version("imaging-node"), pipelines=pipelines, specs=specs))
