"""Tables of model cards: methods down, figures with their intervals across."""

from collections.abc import Callable, Mapping
from typing import Any

Entry = Mapping[str, Any]


def table(
    rows: Entry,
    columns: Mapping[str, str],
    methods: Mapping[str, str],
    digits: Callable[[str], int] = lambda name: 2,
) -> list[str]:
    """Lines of Markdown.

    rows:    method -> figure -> mean, low, high
    columns: figure -> its heading
    methods: method -> its name for people, in the order of the rows
    digits:  figure -> its decimals
    """
    lines = ["| method | " + " | ".join(columns.values()) + " |", "|---" * (len(columns) + 1) + "|"]
    for method, title in methods.items():
        if method in rows:
            row = rows[method]
            cells = [cell(row[name], digits(name)) if name in row else "" for name in columns]
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def cell(value: Mapping[str, float], decimals: int = 2) -> str:
    """A figure with its interval."""
    return f"{value['mean']:.{decimals}f} [{value['low']:.{decimals}f}, {value['high']:.{decimals}f}]"
