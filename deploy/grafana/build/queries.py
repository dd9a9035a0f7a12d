"""Expressions in PromQL, limited to the nodes that are chosen above the panels, and to the pipelines if they have one.

A counter shows how often something happened since its process started; `grown` says how often in a window of time.
Windows are hours, not what is visible: a hospital's series come by the dozen in an hour, and a figure keeps its meaning
when somebody looks at another day.
"""

from typing import Final

PREFIX: Final = "imaging_node_"
INSTANCE: Final = 'instance=~"$instance"'
PIPELINE: Final = 'pipeline=~"$pipeline"'


def of(name: str, *matchers: str) -> str:
    """The values of a metric of the node, its name without prefix; `matchers` as in `state="held"`."""
    return f"{PREFIX}{name}{{{', '.join((INSTANCE, *matchers))}}}"


def recorded(name: str, *matchers: str) -> str:
    """The values of a recording rule of deploy/prometheus/rules/recording.yml."""
    return f"{name}{{{', '.join((INSTANCE, *matchers))}}}"


def total(expression: str, *by: str) -> str:
    """The sum, of each value of the labels `by`."""
    return f"sum{_by(by)} ({expression})"


def most(expression: str, *by: str) -> str:
    """The largest, of each value of the labels `by`."""
    return f"max{_by(by)} ({expression})"


def least(expression: str, *by: str) -> str:
    """The smallest, of each value of the labels `by`."""
    return f"min{_by(by)} ({expression})"


def grown(counter: str, *by: str, window: str = "1h") -> str:
    """How often something happened in the window."""
    return total(f"increase({counter}[{window}])", *by)


def per_second(counter: str, *by: str, window: str = "5m") -> str:
    """How much of something there was in a second of the window."""
    return total(f"rate({counter}[{window}])", *by)


def quantile(share: float, name: str, *by: str, matchers: tuple[str, ...] = (), window: str = "1h") -> str:
    """The value that `share` of what a histogram measured in the window stayed below; nothing without any."""
    inside = total(f"rate({of(name + '_bucket', *matchers)}[{window}])", "le", *by)
    return measured(f"histogram_quantile({share:g}, {inside})")


def mean(name: str, *by: str, matchers: tuple[str, ...] = (), window: str = "1h") -> str:
    """The mean of what a histogram measured in the window; nothing if it measured nothing."""
    above, below = (total(f"rate({of(name + end, *matchers)}[{window}])", *by) for end in ("_sum", "_count"))
    return measured(f"{above} / {below}")


def measured(expression: str) -> str:
    """Without values that are no numbers, which a panel would show as NaN in large letters."""
    return f"{expression} >= 0"


def buckets(name: str, *matchers: str) -> str:
    """What a heat map shows: how many values fell into each bucket of a histogram, in each step of time."""
    return grown(of(f"{name}_bucket", *matchers), "le", window="$__rate_interval")


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""
