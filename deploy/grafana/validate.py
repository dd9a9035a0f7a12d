"""Writes each dashboard as TypeScript that compiles only if it fits Grafana's own types; `validate.sh` compiles it.

    python deploy/grafana/validate.py OUT [--broken]

`--broken` misspells one option and one value of each dashboard: a check that takes these checks nothing.
"""

import json
import sys
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).parent / "dashboards"
# Panels by type: the name of their types in @grafana/schema, and whether they have options of their own for fields.
KINDS = {
    "bargauge": ("BarGauge", False),
    "heatmap": ("Heatmap", True),
    "stat": ("Stat", False),
    "table": ("Table", True),
    "timeseries": ("TimeSeries", True),
}
# Types of enumerations become the strings that they stand for, since JSON has no enumerations.
HEAD = """
import type { Dashboard, FieldConfigSource, Panel, RowPanel } from '@grafana/schema';
type Said<T> = 0 extends 1 & T ? any : T extends string ? `${T}` : T extends readonly (infer U)[] ? Said<U>[]
  : T extends object ? { [K in keyof T]: Said<T[K]> } : T;
type Exact<T> = { [K in keyof T as string extends K ? never : K]: T[K] };
type Of<O, F> = Said<Omit<Panel, 'options' | 'fieldConfig'>> & { options?: Said<O> } & {
  fieldConfig?: Said<Omit<FieldConfigSource, 'defaults'>> & {
    defaults: Said<Omit<FieldConfigSource['defaults'], 'custom'>> & { custom?: Said<Exact<F>> } };
};
"""


def typed(board: dict[str, Any]) -> str:
    """The dashboard as constants of Grafana's types."""
    lines = [HEAD]
    for kind, (name, _) in KINDS.items():
        place = f"@grafana/schema/dist/esm/raw/composable/{kind}/panelcfg/x/{name}PanelCfg_types.gen"
        lines.append(f"import type * as {kind} from '{place}';")
    rest = {key: value for key, value in board.items() if key != "panels"}
    lines.append(f"export const board: Said<Omit<Dashboard, 'panels'>> = {json.dumps(rest)};")
    for panel in board["panels"]:
        if panel["type"] == "row":
            kind = "Said<RowPanel>"
        else:
            own = f"{panel['type']}.FieldConfig" if KINDS[panel["type"]][1] else "{}"
            kind = f"Of<{panel['type']}.Options, {own}>"
        lines.append(f"export const panel{panel['id']}: {kind} = {json.dumps(panel)};")
    return "\n".join(lines) + "\n"


def broken(board: dict[str, Any]) -> dict[str, Any]:
    """The dashboard with an option that no panel has, and a value that none takes."""
    panels = [one for one in board["panels"] if one["type"] in ("stat", "bargauge", "timeseries")]
    panels[0]["options"]["colour"] = "red"
    panels[-1]["fieldConfig"]["defaults"]["thresholds"] = {"mode": "relative", "steps": []}
    return board


def main(out: Path, *, spoil: bool) -> None:
    """Write one file for each dashboard into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(DASHBOARDS.glob("*.json")):
        board = json.loads(path.read_text(encoding="utf-8"))
        (out / f"{path.stem}.ts").write_text(typed(broken(board) if spoil else board), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), spoil="--broken" in sys.argv[2:])
