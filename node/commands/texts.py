"""The commands' results as a person reads them."""

from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from node.commands.check import Line
from pipelines.report import Report, Verdict

_COLOURS = {
    "delivered": "green",
    "paused": "yellow",
    "held": "yellow",
    "refused": "yellow",
    "discarded": "yellow",
    "failed": "red",
    "dead": "red",
}
_VERDICTS = {Verdict.PASS: ("passed", ""), Verdict.CAUTION: ("CAUTION", "yellow"), Verdict.REJECT: ("FAILED", "red")}
_LABEL = "Demonstration weights, not a medical device, not for diagnosis. Original images must be read."


def demo(result: dict[str, Any]) -> RenderableType:
    series = result["series"][0]
    return Group(
        Text(f"{result['received']} slices received, {result['delivered']} derived slices delivered.", style="bold"),
        Text(f"Last slice in to first derived slice out: {result['seconds_last_in_to_first_out']:.1f} s"),
        Text(f"Series: {series['description']}  ({series['series_instance_uid']})"),
        Text(f"Picture: {result['picture']}"),
        Text(f"Objects: {result['folder']}"),
        Text(_LABEL, style="yellow"),
    )


def process(result: dict[str, Any]) -> RenderableType:
    lines = [Text(f"{result['received']} instances read, {result['delivered']} derived.", style="bold")]
    for name, why in result["refused"].items():
        lines.append(Text(f"not taken: {ascii(name)[1:-1]}: {why}", style="yellow"))
    for series in result["series"]:
        lines.append(Text(f"{series['source_series_uid']}: ", end="").append(_state(series["state"])))
        if series["description"]:
            lines.append(Text(f"  {series['instances']} slices as {series['series_uid']}"))
        reasons = series["reason"]
        if isinstance(reasons, dict):
            lines += [Text(f"  {rule}: {why}") for rule, all_of in reasons.items() for why in all_of]
        elif reasons:
            lines.append(Text(f"  {reasons}"))
    lines.append(Text(_LABEL, style="yellow"))
    return Group(*lines)


def check_line(line: Line) -> RenderableType:
    mark, colour = {True: ("ok", "green"), False: ("NO", "red"), None: ("--", "yellow")}[line.good]
    return Text.assemble((f"{mark}  ", colour), (f"{line.what}: ", "bold"), line.text)


def jobs(result: dict[str, Any]) -> RenderableType:
    if not result["jobs"]:
        return Text("No jobs yet.")
    table = Table(box=None)
    for head in ("started", "job", "pipeline", "state", "stage", "seconds", "source series / reason"):
        # What is typed into the next command stays whole, however narrow the terminal is.
        table.add_column(head, no_wrap=head == "job", min_width=12 if head == "job" else None, overflow="fold")
    for job in result["jobs"]:
        seconds = sum(job["seconds"].values())
        last = escape(job["reason"] or job["source_series_uid"])
        part = "" if job["part"] == "all" else f" ({escape(job['part'])})"
        table.add_row(
            _time(job["started_at"]), job["id"][:12], job["pipeline"] + part, _state(job["state"]), job["stage"],
            f"{seconds:.1f}", last,
        )  # fmt: skip
    return table


def show(found: dict[str, Any]) -> RenderableType:
    if "series" in found:
        return Group(
            Text(f"Study {found['study_uid']}", style="bold"),
            *_gathering_lines(found["gatherings"]),
            *(show({**one, "gatherings": []}) for one in found["series"]),
        )
    lines: list[RenderableType] = [
        Text(f"Series {found['series_uid']}", style="bold"),
        Text(f"  {found['instances']} instances, {_time(found['first_received'])} to {_time(found['last_received'])}"),
    ]
    lines += [Text(f"  put aside: {reason}", style="red") for reason in found["quarantined"]]
    if found["waits_for"]:
        lines.append(Text(f"  not complete yet: {found['waits_for']}"))
    lines += _gathering_lines(found["gatherings"])
    for one in found["sets"]:
        lines.append(
            Text(f"Version {one['version']}: {one['instances']} instances, complete because {one['evidence']}")
        )
        for rule, reasons in one["rules"].items():
            lines.append(Text(f"  rule {rule}: " + ("matched" if not reasons else "did not match")))
            lines += [Text(f"    - {reason}") for reason in reasons]
        for job in one["jobs"]:
            lines += _job_lines(job)
    return Group(*lines)


def _gathering_lines(found: list[dict[str, Any]]) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for one in found:
        said = f": {one['reason']}" if one["reason"] else ""
        lines.append(Text.assemble(f"  study for rule {one['rule']}: ", _state(one["state"]), said))
        for role, some in one["roles"].items():
            names = ", ".join(_source(it) for it in some)
            lines.append(Text(f"    {role}: {names}"))
    return lines


def _source(one: dict[str, Any]) -> str:
    return f"{one['series_uid']} version {one['version']}" + ("" if one["part"] == "all" else f", {one['part']}")


def _job_lines(job: dict[str, Any]) -> list[RenderableType]:
    lines: list[RenderableType] = [
        Text.assemble(f"  job {job['id'][:12]} {job['pipeline']} {job['pipeline_version']}: ", _state(job["state"]))
    ]
    if job["part"] != "all":
        lines.append(Text(f"    of the part {job['part']}"))
    lines += [Text(f"    {role}: {_source(one)}") for role, one in job["roles"].items()]
    if job["parameters"]:
        lines.append(Text("    with " + ", ".join(f"{name} {value}" for name, value in job["parameters"].items())))
    if job["reason"]:
        lines.append(Text(f"    {job['reason']}"))
    for event in job["events"]:
        said = event["detail"]
        if event["kind"] == "released":
            lines.append(Text(f"    released by {said['by']}, {_time(event['at'])}: {said['why']}", style="yellow"))
        elif event["kind"] == "superseded":
            lines.append(Text(f"    superseded by job {said['by'][:12]}, {_time(event['at'])}", style="yellow"))
    if job["series_description"]:
        lines.append(Text(f"    series {job['series_number']} '{job['series_description']}' {job['series_uid']}"))
    took = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in job["seconds"].items())
    lines.append(Text(f"    {took}"))
    for finding in Report.from_json(job["report"]).findings if job["report"] else ():
        said, colour = _VERDICTS[finding.verdict]
        lines.append(Text.assemble(("    " + said, colour), f" {finding.name}: {finding.text}"))
    for row in job["destinations"]:
        text = f"    to {row['destination']}: {row['state']}, {row['confirmed']} of {row['instances']} confirmed"
        text += f", proven by {row['proof']}" if row["proof"] else ""
        lines.append(Text(text + (f"; {row['trouble']}" if row["trouble"] else "")))
    return lines


def fetch(found: dict[str, Any]) -> RenderableType:
    """What an archive sent, and why not all if not."""
    wanted = "" if found["wanted"] is None else f" of {found['wanted']}"
    text = (
        f"{found['arrived']}{wanted} instances are here; {found['failed']} failed, {found['warnings']} with a warning"
    )
    return Text(text + (f". {found['trouble'][:1].upper()}{found['trouble'][1:]}." if found["trouble"] else "."))


def evaluate(found: dict[str, Any]) -> RenderableType:
    """Every line of acceptance of an engine, met or missed."""
    engine = found["engine"]
    table = Table(title=f"{engine['name']} {engine['version']}, validation level {engine['validation_level']}")
    for title in ("", "measured on held-back items", "value", "95 % interval", "n", "wanted"):
        table.add_column(title)
    for line in found["acceptance"]:
        met = Text("met", style="green") if line["passed"] else Text("missed", style="red")
        between = "" if line["low"] is None else f"{line['low']:.3g} to {line['high']:.3g}"
        table.add_row(met, line["name"], f"{line['value']:.3g}", between, str(line["n"]), line["wanted"])
    return table


def _state(state: str) -> Text:
    return Text(state, style=_COLOURS.get(state, "cyan"))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
