"""What happens to voxels: no DICOM network, no clock, no disk."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pipelines.ct_denoise import CT_DENOISE
from pipelines.ct_kernel import CT_KERNEL, ct_kernel
from pipelines.head_ct_triage import HEAD_CT_TRIAGE
from pipelines.kernels import SHIPPED_KERNELS, Measured
from pipelines.mr_postcontrast import MR_POSTCONTRAST
from pipelines.mra_superres import MRA_SUPERRES
from pipelines.pipeline import Pipeline

SHIPPED: Mapping[str, Pipeline] = MappingProxyType(
    {one.name: one for one in (CT_DENOISE, CT_KERNEL, MR_POSTCONTRAST, MRA_SUPERRES, HEAD_CT_TRIAGE)}
)
"""The pipelines that come with the node, by name."""


def with_kernels(of_site: Sequence[Measured]) -> dict[str, Pipeline]:
    """The same, knowing the kernels that a site measured; where both describe a kernel, the site's own entry counts."""
    return {**SHIPPED, CT_KERNEL.name: ct_kernel((*of_site, *SHIPPED_KERNELS))}
