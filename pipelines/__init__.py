"""What happens to voxels: no DICOM network, no clock, no disk."""

from collections.abc import Mapping
from types import MappingProxyType

from pipelines.ct_denoise import CT_DENOISE
from pipelines.pipeline import Pipeline

SHIPPED: Mapping[str, Pipeline] = MappingProxyType({CT_DENOISE.name: CT_DENOISE})
"""The pipelines that come with the node, by name."""
