"""The page at /metrics: what all processes counted, and what is read from records and disk when it is asked for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from node.metrics.counted import PREFIX

_TOTAL = "_total"


@dataclass(frozen=True, kw_only=True)
class Level:
    """Values read at scrape time, by label. Several labels stand in `label` parted by blanks, and values have as many
    keys. A name that ends in "_total" is a counter, every other one a gauge."""

    name: str
    text: str
    label: str
    values: Mapping[str, float] | Mapping[tuple[str, ...], float]

    @property
    def family(self) -> Metric:
        """As Prometheus has it."""
        labels = self.label.split()
        family: CounterMetricFamily | GaugeMetricFamily
        if self.name.endswith(_TOTAL):
            family = CounterMetricFamily(PREFIX + self.name.removesuffix(_TOTAL), self.text, labels=labels)
        else:
            family = GaugeMetricFamily(PREFIX + self.name, self.text, labels=labels)
        for value, number in self.values.items():
            key = (value,) if isinstance(value, str) else value
            family.add_metric(key if self.label else [], number)
        return family


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A histogram read at scrape time, by one label.

    bounds: upper bounds of the buckets, rising
    values: by label: how many there are in each bucket, one more than there are bounds, and the sum of all
    """

    name: str
    text: str
    label: str
    bounds: Sequence[float]
    values: Mapping[str, tuple[Sequence[int], float]]

    @property
    def family(self) -> Metric:
        """As Prometheus has it: buckets count all that is below their bound."""
        family = HistogramMetricFamily(PREFIX + self.name, self.text, labels=[self.label])
        names = [*(f"{float(bound)}" for bound in self.bounds), "+Inf"]
        for value, (counts, total) in self.values.items():
            below = [float(sum(counts[: place + 1])) for place in range(len(names))]
            family.add_metric([value], list(zip(names, below, strict=True)), total)
        return family


class _Read(Collector):
    def __init__(self, levels: Sequence[Level | Spread]) -> None:
        self._levels = levels

    def collect(self) -> Iterable[Metric]:
        for level in self._levels:
            yield level.family


def exposition(folder: Path, levels: Sequence[Level | Spread]) -> bytes:
    """The page at /metrics: what all processes counted in `folder`, and the levels given."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]  # the library's constructor
    registry.register(_Read(levels))
    return generate_latest(registry)
