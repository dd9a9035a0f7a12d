"""What panels look like: figures, lines, bars, heat maps and tables."""

from collections.abc import Mapping
from typing import Final, TypeVar

from grafana_foundation_sdk.builders import bargauge, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import common as build
from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.build.colours import SKY, Steps, Words, by_name, steps_of, words_of

Panel = Builder[dashboard.Panel]
Query = prometheus.Dataquery
_Some = TypeVar("_Some", stat.Panel, timeseries.Panel, bargauge.Panel, heatmap.Panel, table.Panel)

SOURCE: Final = dashboard.DataSourceRef(type_val="prometheus", uid="imaging-node-prometheus")


def ask(expression: str, name: str = "", *, ref: str = "A", shape: str = "range") -> Query:
    """One query. `shape`: range (lines), instant (figures), table (rows of labels), heat (buckets over time)."""
    query = prometheus.Dataquery().expr(expression).ref_id(ref).datasource(SOURCE)
    if name:
        query = query.legend_format(name)
    match shape:
        case "range":
            return query.range()
        case "heat":
            return query.range().format(PromQueryFormat.HEATMAP)
        case "instant":
            return query.instant()
        case "table":
            return query.instant().format(PromQueryFormat.TABLE)
        case _:
            raise ValueError(f"There is no shape {shape}.")


def figure(
    title: str,
    says: str,
    asked: str | Mapping[str, str],
    *,
    unit: str = "short",
    steps: Steps = ((0, SKY),),
    words: Words | None = None,
    empty: str = "none",
    decimals: int | None = None,
    width: int = 4,
    height: int = 5,
) -> Panel:
    """Large figures, readable from afar.

    asked: an expression, or several by name
    empty: what stands there without a value
    """
    several = asked if isinstance(asked, Mapping) else {"": asked}
    named = len(several) > 1 or "{{" in next(iter(several))
    panel = (
        _base(stat.Panel(), title, says, unit, width, height)
        .targets([ask(one, name, ref=_ref(at), shape="instant") for at, (name, one) in enumerate(several.items())])
        .thresholds(steps_of(steps))
        .color_scheme(boards.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .no_value(empty)
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.VALUE)
        .text_mode(common.BigValueTextMode.VALUE_AND_NAME if named else common.BigValueTextMode.VALUE)
        .orientation(common.VizOrientation.HORIZONTAL if len(several) > 1 else common.VizOrientation.AUTO)
        .reduce_options(build.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    )
    if words:
        panel = panel.mappings([words_of(words)])
    return panel if decimals is None else panel.decimals(decimals)


def lines(
    title: str,
    says: str,
    asked: Mapping[str, str],
    *,
    unit: str = "short",
    limits: Steps = (),
    bars: bool = False,
    every: str | None = None,
    shade: str = SKY,
    empty: str = "nothing in this time",
    most: float | None = None,
    width: int = 12,
    height: int = 8,
) -> Panel:
    """Values over time. `asked`: expressions by the name of their lines, as in `{{pipeline}}`.

    limits: dashed lines at which somebody should look
    bars:   stacked bars, for counts
    every:  the length of a step, if not what fits the screen
    """
    panel = (
        _base(timeseries.Panel(), title, says, unit, width, height)
        .targets([ask(one, name, ref=_ref(at)) for at, (name, one) in enumerate(asked.items())])
        .color_scheme(boards.FieldColor().mode(dashboard.FieldColorModeId.SHADES).fixed_color(shade))
        .overrides(by_name(asked))
        .no_value(empty)
        .min(0)
        .line_width(2)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            build.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.RIGHT)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(build.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
    )
    if bars:
        panel = (
            panel.decimals(0)
            .draw_style(common.GraphDrawStyle.BARS)
            .fill_opacity(80)
            .line_width(0)
            .stacking(build.StackingConfig().mode(common.StackingMode.NORMAL))
        )
    if limits:
        panel = panel.thresholds(steps_of(((0, "transparent"), *limits))).thresholds_style(
            build.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    if every:
        panel = panel.interval(every)
    return panel if most is None else panel.max(most)


def ranking(
    title: str,
    says: str,
    asked: str,
    name: str,
    *,
    unit: str = "short",
    steps: Steps = ((0, SKY),),
    empty: str = "none",
    decimals: int | None = None,
    width: int = 8,
    height: int = 8,
) -> Panel:
    """A bar for each value of a label, now."""
    panel = (
        _base(bargauge.Panel(), title, says, unit, width, height)
        .targets([ask(asked, name, shape="instant")])
        .thresholds(steps_of(steps))
        .color_scheme(boards.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .min(0)
        .no_value(empty)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .orientation(common.VizOrientation.HORIZONTAL)
        .show_unfilled(True)
        .reduce_options(build.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    )
    return panel if decimals is None else panel.decimals(decimals)


def heat_map(title: str, says: str, asked: str, *, unit: str = "s", width: int = 12, height: int = 8) -> Panel:
    """How many values fell into each bucket of a histogram, over time: one hue, darker is fewer."""
    return (
        _base(heatmap.Panel(), title, says, unit, width, height)
        .targets([ask(asked, "{{le}}", shape="heat")])
        .no_value("nothing in this time")
        .calculate(False)
        .cell_gap(1)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heat.HeatmapColorMode.SCHEME)
            .scheme("Cividis")  # made to look alike with and without colour vision
            .fill(SKY)
            .exponent(0.5)
            .steps(64)
        )
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .y_axis(heatmap.YAxisConfig().axis_placement(common.AxisPlacement.LEFT).unit(unit).reverse(False))
        .show_legend()
    )


def listing(
    title: str,
    says: str,
    asked: Mapping[str, tuple[str, str]],
    *,
    labels: Mapping[str, str],
    words: Mapping[str, Words] | None = None,
    steps: Mapping[str, Steps] | None = None,
    link: tuple[str, str] | None = None,
    widths: Mapping[str, int] | None = None,
    sort: str | None = None,
    empty: str = "none",
    width: int = 8,
    height: int = 8,
) -> Panel:
    """A table, now: a row for each value of `labels`, a column for each query.

    asked:  expression and unit, by the title of the column; "none" for what is no count and has no unit
    labels: title of the column, by label
    words:  what stands there for a value, with its colour, by title of the column
    steps:  from which value on a column has which colour
    link:   where a click on a column leads: its title, the address
    widths: of columns, in pixels; the others share what is left
    sort:   the column whose largest values come first
    """
    renamed = {f"Value #{_ref(at)}" if len(asked) > 1 else "Value": name for at, name in enumerate(asked)} | dict(
        labels
    )
    panel = (
        _base(table.Panel(), title, says, "short", width, height)
        .targets([ask(one, ref=_ref(at), shape="table") for at, (one, _) in enumerate(asked.values())])
        .with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            dashboard.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True},
                    "indexByName": {
                        key: at for at, key in enumerate([*labels, *(k for k in renamed if k not in labels)])
                    },
                    "renameByName": renamed,
                },
            )
        )
        .no_value(empty)
        .show_header(True)
        .cell_height(common.TableCellHeight.SM)
        .color_scheme(boards.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .thresholds(steps_of(((0, "text"),)))
    )
    for name, (_, unit) in asked.items():
        said = [
            dashboard.DynamicConfigValue(id_val="unit", value=unit),
            dashboard.DynamicConfigValue(id_val="decimals", value=2 if unit == "none" else 0),
        ]
        if words and name in words:
            said += [dashboard.DynamicConfigValue(id_val="mappings", value=[words_of(words[name])]), _TEXT]
        if steps and name in steps:
            said += [dashboard.DynamicConfigValue(id_val="thresholds", value=steps_of(steps[name]).build()), _TEXT]
        panel = panel.override_by_name(name, said)
    if link:
        to = {"title": "What to do", "url": link[1], "targetBlank": True}
        panel = panel.override_by_name(link[0], [dashboard.DynamicConfigValue(id_val="links", value=[to])])
    for name, pixels in (widths or {}).items():
        panel = panel.override_by_name(name, [dashboard.DynamicConfigValue(id_val="custom.width", value=pixels)])
    return panel.sort_by([build.TableSortByFieldState().display_name(sort).desc(True)]) if sort else panel


_TEXT: Final = dashboard.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"})


def _base(panel: _Some, title: str, says: str, unit: str, width: int, height: int) -> _Some:
    return panel.title(title).description(says).datasource(SOURCE).unit(unit).span(width).height(height)


def _ref(at: int) -> str:
    return chr(ord("A") + at)
