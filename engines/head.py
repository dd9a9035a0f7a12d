"""A head CT on the grid of the template: brain, pose, voxels, maps back, figures. numpy only.

brain_mask -> align -> to_grid -> (the network) -> z_map -> features; to_source brings maps back to the series.
"""

from engines.head_brain import brain_mask
from engines.head_features import NAMES, features, z_map
from engines.head_frame import GRID, Grid, HeadStack, NoBrain, NotAligned, Pose
from engines.head_grid import to_grid, to_source
from engines.head_pose import align

__all__ = [
    "GRID",
    "NAMES",
    "Grid",
    "HeadStack",
    "NoBrain",
    "NotAligned",
    "Pose",
    "align",
    "brain_mask",
    "features",
    "to_grid",
    "to_source",
    "z_map",
]
