"""The sections of the picture: each turns facts into lines, the first of them with the section's name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from node.records.throughput import Hours, Spread
from node.top.facts import Destination, Facts
from node.top.words import bar, seconds, size

_NAME: Final = 10  # characters of a section's name, and of the space below it
_BAD, _ODD, _GOOD, _DIM = "bold red", "yellow", "green", "dim"
_NEXT: Final = {  # after `imaging-node`
    "held": "show {job}, release or discard",
    "failed": "show {job}, replay",
    "dead": "show {job}, replay",
    "refused": "show {job}",
    "paused": "resume {pipeline}",
}
_WHY: Final = "pipeline and reason"
_COLOURS: Final = {"dead": _BAD, "failed": _BAD, "held": _ODD, "paused": _ODD, "refused": _DIM}


@dataclass(frozen=True, kw_only=True)
class Section:
    """Lines, the most telling first. `least`: as many are kept as long as others can be cut instead."""

    lines: tuple[Text, ...]
    least: int = 1


def warnings(facts: Facts) -> list[Text]:
    """What has to be seen before everything else."""
    found = []
    if not facts.runs:
        found.append(Text("It does not run; these are its records. Start it: systemctl start imaging-node", style=_BAD))
    if facts.trouble:
        found.append(Text(facts.trouble, style=_BAD))
    if facts.disk_failed:
        found.append(
            Text("The disk failed to write: nothing is taken. Check it, then start the node again.", style=_BAD)
        )
    for channel, count in facts.alarms.items():
        text = f"ALARM {channel}: {count} verdict(s) not acknowledged. See: imaging-node flags"
        found.append(Text(text, style=_BAD))
    for one in facts.work.paused if facts.work else ():
        text = f"PAUSED {one.pipeline} for {seconds(facts.at - one.since)} by {one.by}: {one.why}"
        found.append(Text(text, style=_ODD))
    return found


def parts(facts: Facts, width: int, plain: bool) -> Section:
    """Which processes live, which engines are off, and the disk."""
    words = []
    for part in facts.parts:
        if part.alive:
            words.append(Text(part.name, style=_GOOD))
        else:
            seen = "" if part.seen_s is None else f" for {seconds(part.seen_s)}"
            words.append(Text(f"{part.name} DOWN{seen}", style=_BAD))
    if facts.engines_off:
        words.append(Text(f"engines OFF: {', '.join(facts.engines_off)}", style=_BAD))
    if facts.engines_away:
        words.append(Text(f"engines AWAY: {', '.join(facts.engines_away)}", style=_BAD))
    lines = _flow("parts", words, width).lines
    return Section(lines=(*lines, _disk(facts)), least=len(lines) + 1)


def _disk(facts: Facts) -> Text:
    line = _begin("disk")
    if facts.disk_free is None:
        return line.append("its folder is not there", _BAD)
    line.append(f"{size(facts.disk_free)} free", _BAD if facts.disk_free < facts.disk_reserve else _GOOD)
    line.append(f", reserve {size(facts.disk_reserve)}", _DIM)
    if facts.disk_free < facts.disk_reserve:
        line.append("  BELOW THE RESERVE: senders get A700", _BAD)
    elif facts.disk_free < 2 * facts.disk_reserve:
        line.append("  low", _ODD)
    return line


def destinations(facts: Facts, width: int, plain: bool) -> Section:
    """Each destination, those in trouble first."""
    order = sorted(facts.destinations, key=lambda one: (_is_well(one), one.name))
    wide = max((len(one.name) for one in order), default=0)
    lines: list[Text] = []
    for one in order:
        line = _begin("" if lines else "to")
        line.append(one.name.ljust(wide + 1))
        line.append(*_state(one))
        if one.jobs:
            line.append(f" {one.jobs} series ({one.instances} objects) wait")
            line.append("" if one.trouble else f", the oldest {seconds(one.oldest_s)}")
        if one.trouble:
            line.append(f"; {one.trouble}", _DIM)
        lines.append(line)
    return Section(lines=tuple(lines), least=2)


def _state(one: Destination) -> tuple[str, str]:
    if one.up is False and not one.jobs:
        return "did not answer when last tried", _ODD
    if one.up is False:
        return f"DOWN{f' for {seconds(one.down_s)}' if one.down_s else ''}", _BAD
    if one.trouble:
        return f"trouble for {seconds(one.down_s)}", _ODD
    return ("up", _GOOD) if one.up else ("not tried", _DIM)


def _is_well(one: Destination) -> bool:
    return one.up is not False and not one.trouble


def series(facts: Facts, width: int, plain: bool) -> Section:
    """Series that came, and those delivered by pipeline: in the last hour, in the window, by hour, and how fast."""
    if facts.work is None:
        return Section(lines=())
    rows = [*facts.work.received, *facts.work.made.hours]
    if not rows:
        return Section(lines=(_begin("series").append(f"none in {facts.window} h", _DIM),))
    name = max(9, *(len(_label(row)) for row in rows)) + 1
    room = max(0, min(facts.window, 48, width - _NAME - name - 32))
    together = -(-facts.window // max(room, 1))
    head = _begin("series").append(f"{'':{name}}{'1 h':>5} {f'{facts.window} h':>6}  ", _DIM)
    head.append(f"{'hours' if together == 1 else f'{together} h each':<{room}}  " if room >= 8 else "", _DIM)
    head.append("median / 95 %", _DIM)
    lines, told = [head], set()
    for row in rows:
        line = _begin("").append(f"{_label(row):{name}}")
        line.append(f"{row.counts[-1]:>5} {sum(row.counts):>6}  ", "bold")
        if room >= 8:
            line.append(f"{bar(row.counts, width=room, plain=plain):<{room}}  ", "cyan")
        took = facts.work.made.turnaround.get(row.pipeline)
        if took is not None and row.pipeline not in told:
            told.add(row.pipeline)
            line.append(_spread(took))
        lines.append(line)
    return Section(lines=tuple(lines), least=4)


def _label(row: Hours) -> str:
    return f"{row.modality} {row.pipeline or 'in'}"


def _spread(found: Spread) -> str:
    return f"{seconds(found.median_s)} / {seconds(found.p95_s)}"


def stages(facts: Facts, width: int, plain: bool) -> Section:
    """Median and 95th percentile of each stage, as many in a line as fit."""
    known = facts.work.made.stages if facts.work else {}
    return _flow("stages", [Text.assemble((f"{name} ", _DIM), _spread(one)) for name, one in known.items()], width)


def waiting(facts: Facts, width: int, plain: bool) -> Section:
    """What is not done, by stage."""
    if facts.work is None:
        return Section(lines=())
    found = facts.work.waiting
    if not found:
        return Section(lines=(_begin("waiting").append("nothing", _DIM),))
    words = [
        Text.assemble((f"{one.stage} ", _DIM), (str(one.count), "bold"), f" (oldest {seconds(one.oldest_s)})")
        for one in found
    ]
    return _flow("waiting", words, width)


def stopped(facts: Facts, width: int, plain: bool) -> Section:
    """What goes no further by itself, why, and what to type."""
    if facts.work is None:
        return Section(lines=())
    found = facts.work.stopped
    if not found:
        return Section(lines=(_begin("stopped").append("nothing", _DIM),))
    kinds = [f"{one.pipeline} {one.cause}" for one in found]
    wide = max(len(_WHY), min(max(map(len, kinds)), width - _NAME - 15 - 2 - 17))
    head = _begin("stopped").append(f"{'':15}{_WHY:{wide}}  type imaging-node ...", _DIM)
    lines = [head]
    for one, kind in zip(found, kinds, strict=True):
        line = _begin("").append(f"{one.count:>5} {one.state:8} ", _COLOURS.get(one.state, ""))
        line.append(f"{kind[:wide]:{wide}}  ")
        line.append(_NEXT[one.state].format(job=one.job[:12], pipeline=one.pipeline), _DIM)
        lines.append(line)
    return Section(lines=tuple(lines), least=4)


def triage(facts: Facts, width: int, plain: bool) -> Section:
    """Verdicts, what waits for one, and who was not told yet."""
    found = facts.work.triage if facts.work else None
    if found is None:
        return Section(lines=())
    words = [
        Text.assemble((f"{flag.lower().replace('_', ' ')} ", _DIM), (str(n), "bold"))
        for flag, n in found.verdicts.items()
    ]
    words = words or [Text(f"no verdict in {facts.window} h", style=_DIM)]
    if found.to_verdict is not None:
        words.append(Text.assemble(("to verdict ", _DIM), _spread(found.to_verdict)))
    if found.waiting:
        words.append(Text(f"{found.waiting} without a verdict, the oldest {seconds(found.oldest_s)}", style=_ODD))
    if found.not_acknowledged:
        text = f"{found.not_acknowledged} not acknowledged, the oldest {seconds(found.oldest_notice_s)}"
        words.append(Text(text, style=_ODD))
    return _flow("triage", words, width)


def _begin(name: str) -> Text:
    return Text.assemble((f"{name.upper():{_NAME}}", "bold"))


def _flow(name: str, words: list[Text], width: int) -> Section:
    """Words one after the other, in as many lines as they need."""
    lines: list[Text] = []
    for word in words:
        if not lines or lines[-1].cell_len + word.cell_len + 2 > width:
            lines.append(_begin("" if lines else name))
        else:
            lines[-1].append("  ")
        lines[-1].append_text(word)
    return Section(lines=tuple(lines), least=len(lines))


Maker = Callable[[Facts, int, bool], Section]

LEFT: Final[tuple[Maker, ...]] = (series, stages, waiting)
RIGHT: Final[tuple[Maker, ...]] = (parts, destinations, stopped, triage)
ALL: Final[tuple[Maker, ...]] = (parts, destinations, series, stages, waiting, stopped, triage)
