"""What all dashboards have in common, and their files."""

import json
from collections.abc import Iterable
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard, table

from deploy.grafana.build import delivery, glance, gpu, guards, machine, throughput
from deploy.grafana.build.panels import SOURCE, Panel
from deploy.grafana.build.queries import of

TAG: Final = "imaging-node"
# Where a browser finds the run book: the compose file puts it among the files that Grafana gives out.
RUNBOOK: Final = "/public/imaging-node/RUNBOOK.md"
Row = tuple[str, Iterable[Panel]]  # its title, or "" for none; its panels


def files() -> dict[str, str]:
    """The JSON of each dashboard, by file name."""
    made = (
        _board("at-a-glance", glance.TITLE, glance.SAYS, glance.rows(), since="now-24h", every="30s"),
        _board("throughput", throughput.TITLE, throughput.SAYS, throughput.rows(), since="now-24h"),
        _board("delivery", delivery.TITLE, delivery.SAYS, delivery.rows(), since="now-24h"),
        _board("guards", guards.TITLE, guards.SAYS, guards.rows(), since="now-7d", every="5m"),
        _board("machine", machine.TITLE, machine.SAYS, machine.rows(), since="now-24h"),
        _board("gpu", gpu.TITLE, gpu.SAYS, gpu.rows(), since="now-24h"),
    )
    return {
        f"{str(one.uid).removeprefix(TAG + '-')}.json": json.dumps(
            one, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False
        )
        + "\n"
        for one in made
    }


def _board(
    uid: str, title: str, says: str, parts: Iterable[Row], *, since: str, every: str = "1m"
) -> dashboard.Dashboard:
    """`since` and `every`: what is shown at first, and how often it is asked for again."""
    board = (
        build.Dashboard(title)
        .uid(f"{TAG}-{uid}")
        .description(says)
        .tags([TAG])
        .readonly()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .time(since, "now")
        .refresh(every)
        .timezone("browser")
        .links([_others(), _runbook()])
    )
    for name, panels in parts:
        if name:
            board = board.with_row(build.Row(name))
        for panel in panels:
            board = board.with_panel(panel)
    asked = json.dumps(board.build().panels, cls=JSONEncoder)
    choices = (
        _chosen("instance", "Node", 'label_values(up{job="imaging-node"}, instance)'),
        _chosen("pipeline", "Pipeline", f"label_values({of('jobs')}, pipeline)"),
    )
    used = [one for one in choices if f"${one.build().name}" in asked]
    return _finished(board.variables([*used, _constant("runbook", RUNBOOK)]).build())


def _finished(board: dashboard.Dashboard) -> dashboard.Dashboard:
    """Number the panels, and leave out what the builders put in and Grafana's types do not have."""
    for number, one in enumerate(board.panels or [], start=1):
        one.id_val = number
        if isinstance(one, dashboard.Panel) and isinstance(one.options, table.Options):
            one.options.footer = None
    for variable in board.templating.list_val or []:
        variable.auto = variable.auto_min = variable.auto_count = None
    return board


def _others() -> build.DashboardLink:
    """The other dashboards, with the same choice and time."""
    return (
        build.DashboardLink("Imaging node")
        .type(dashboard.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .include_vars(True)
        .keep_time(True)
    )


def _runbook() -> build.DashboardLink:
    return (
        build.DashboardLink("Run book")
        .type(dashboard.DashboardLinkType.LINK)
        .icon("doc")
        .tooltip("What to do when an alert fires")
        .url("${runbook}")
        .target_blank(True)
    )


def _chosen(name: str, label: str, query: str) -> build.QueryVariable:
    return (
        build.QueryVariable(name)
        .label(label)
        .query({"query": query, "refId": "A"})
        .datasource(SOURCE)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(dashboard.VariableOption(text=["All"], value=["$__all"], selected=True))
    )


def _constant(name: str, value: str) -> build.TextBoxVariable:
    return (
        build.TextBoxVariable(name)
        .default_value(value)
        .hide(dashboard.VariableHide.HIDE_VARIABLE)
        .current(dashboard.VariableOption(text=value, value=value, selected=True))
    )
