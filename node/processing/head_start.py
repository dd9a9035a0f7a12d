"""What was made ahead of a job, as its inference asks for it."""

from collections.abc import Mapping

from node.prepared import Prepared
from node.processing.planes import Plane, Planes, Recipe
from node.records.instances import Instance
from pipelines.volume import Volume


class HeadStart:
    """The slices of one job that need not be made any more.

    members: received file -> its record
    used:    slices that were taken so far
    seconds: that the network had taken for them
    """

    def __init__(
        self, planes: Planes, recipe: Recipe, prepared: Prepared, volume: Volume, members: Mapping[str, Instance]
    ) -> None:
        self._planes, self._recipe, self._prepared, self._volume = planes, recipe, prepared, volume
        self._members = members
        self.used, self.seconds = 0, 0.0

    def known(self, index: int) -> Plane | None:
        """A slice of the result, if what it was made of is what stands in the volume; else None."""
        if self._prepared.frames[index] or self._volume.padding is None:
            return None
        instance = self._members[self._prepared.sources[index]]
        found = self._planes.take(instance, self._recipe, self._volume.voxels[index], self._volume.padding[index])
        if found is None:
            return None
        made, seconds = found
        self.used += 1
        self.seconds += seconds
        return made
