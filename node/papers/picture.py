"""data-flow.svg: who connects to the node, whom it calls, and what goes where; the facts are those of PORTS.md.

Left stands who opens a connection to the node, right whom the node calls. Above are other machines, below what stays on
the node's own; the node reaches through both.
"""

from dataclasses import dataclass
from typing import Final

from node.papers.boxes import WIDTH, drawn_at, mark, of_called, of_caller, of_folder
from node.papers.facts import Connections, Data, Flow, Listener
from node.papers.svg import Text, box, document, group, line, wrapped
from node.settings import Settings

_WIDTH: Final = 1240
_LEFT, _RIGHT = 20, 970  # x of the left boxes, of the right ones
_NODE, _NODE_WIDTH = 350, 420
_BUS: Final = 312  # x where lines of one port come together
_PORT_WIDTH: Final = 165
_TOP: Final = 112
_GAP: Final = 16  # between two boxes
_STEP: Final = 28  # between two boxes inside the node
_INSIDE_PX: Final = 410  # height that the boxes inside the node need


@dataclass(frozen=True, kw_only=True)
class _Placed:
    """Drawn things, and where the next may begin."""

    drawn: tuple[str, ...]
    end: int


def picture(settings: Settings, found: Connections, *, version: str) -> str:
    """The picture as SVG; the same bytes for the same facts."""
    far_left = _callers(found, local=False, top=_TOP + 34)
    far_right = _all_called(found, local=False, top=_TOP + 34)
    inside_end = _TOP + 34 + _INSIDE_PX
    border = max(far_left.end, far_right.end, inside_end) + 8
    near_left = _callers(found, local=True, top=border + 40)
    near_right = _all_called(found, local=True, top=border + 40)
    end = max(near_left.end, near_right.end, border + 56) + 4
    height = end + 150
    title = f"Data flow of imaging-node {version}, {settings.receiver.ae_title}"
    drawn = [
        Text(x=_LEFT, y=38, words=title, style="head"),
        Text(
            x=_LEFT,
            y=62,
            words="The facts are those of PORTS.md. Left: who opens a connection to the node. Right: whom the node "
            "calls. Nothing else is opened or called.",
        ),
        *_zones(border, end),
        *_node(settings, version, end),
        *far_left.drawn,
        *far_right.drawn,
        *near_left.drawn,
        *near_right.drawn,
        *_legend(end + 22),
    ]
    return document(_WIDTH, height, drawn, title=title, text=_in_words(found))


def _zones(border: int, end: int) -> list[str]:
    """Other machines above, the node's own machine below and around the node."""
    left, right, mid_left, mid_right = _LEFT - 10, _WIDTH - 10, _NODE - 22, _NODE + _NODE_WIDTH + 22
    top, above = _TOP - 30, _TOP - 30
    outline = [
        (mid_left, above), (mid_right, above), (mid_right, border), (right, border), (right, end), (left, end),
        (left, border), (mid_left, border),
    ]  # fmt: skip
    points = " ".join(f"{x},{y}" for x, y in outline)
    return [
        box(left, top, mid_left - left - 8, border - top - 8, "network"),
        box(mid_right + 8, top, right - mid_right - 8, border - top - 8, "network"),
        f'<polygon points="{points}" class="machine"/>',
        str(Text(x=_LEFT, y=_TOP - 8, words="NETWORK: other machines", style="zone")),
        str(Text(x=_RIGHT, y=_TOP - 8, words="NETWORK: other machines", style="zone")),
        str(Text(x=_LEFT, y=border + 24, words="THE NODE'S MACHINE", style="zone")),
        str(Text(x=_RIGHT, y=border + 24, words="THE NODE'S MACHINE", style="zone")),
    ]


def _node(settings: Settings, version: str, end: int) -> list[str]:
    """The node itself: its processes and what it keeps, in the order in which images pass."""
    kept = settings.node.keep_days
    days = "for ever" if kept == "forever" else f"{kept:g} days after all is done"
    receivers = f"receiver{', web' if settings.takes_by_http else ''}: a short scan of the header, then to disk"
    parts = [
        (receivers, Data.IMAGES),
        (f"spool: images as they came, results; kept {days}", Data.IMAGES),
        ("worker: decoder, network, checks, derived objects, sending", Data.IMAGES),
        ("records: what came, was made and sent; headers without identity; worklist and notices with it", Data.IMAGES),
        ("page: counts, times, health", Data.NONE),
    ]
    x, width = _NODE + _PORT_WIDTH + 15, _NODE_WIDTH - _PORT_WIDTH - 30
    drawn = [
        box(_NODE, _TOP - 18, _NODE_WIDTH, end - _TOP + 8, "node", corner=8),
        str(Text(x=_NODE + 14, y=_TOP + 6, words=f"imaging-node {version}", style="zone")),
        str(Text(x=_NODE + _NODE_WIDTH - 14, y=_TOP + 6, words=f"AE {settings.receiver.ae_title}", anchor="end")),
    ]
    y = _TOP + 28
    for place, (words, data) in enumerate(parts):
        lines = wrapped(words, width - 40, most=4, font_px=11)
        height = len(lines) * 14 + 14
        if place:
            drawn.append(
                line([(x + width // 2, y - _STEP), (x + width // 2, y)], "inside", start=place in (2, 3), end=True)
            )
        drawn.append(box(x, y, width, height))
        drawn += [str(Text(x=x + 8, y=y + 17 + 14 * n, words=one, style="small")) for n, one in enumerate(lines)]
        drawn += mark(x + width, y, data)
        y += height + _STEP
    drawn += [
        str(Text(x=x, y=y + 14 * n, words=one, style="small"))
        for n, one in enumerate(["on disk:", *wrapped(str(settings.node.state), width, most=2, font_px=11)])
    ]
    return drawn


def _callers(found: Connections, *, local: bool, top: int) -> _Placed:
    """Boxes of those who connect, by the port that they come to."""
    drawn: list[str] = []
    y = top
    for listener in (one for one in found.listeners if one.local == local):
        callers = found.callers_of(listener)
        boxes = [of_caller(one) for one in callers]
        begin, middles = y, list[int]()
        for shown in boxes:
            drawn += drawn_at(_LEFT, y, shown)
            middles.append(y + shown.height // 2)
            y += shown.height + _GAP
        y = max(y, begin + 58 + _GAP)
        port_y = (middles[0] + middles[-1]) // 2 if middles else begin + 26
        drawn += _port(listener, port_y)
        if not callers:
            drawn.append(str(Text(x=_LEFT, y=port_y + 4, words="nobody: no peer of the settings comes here")))
        style = "bare" if listener.security.tls is None else "tls"
        for one, middle in zip(callers, middles, strict=True):
            leads = [(_LEFT + WIDTH, middle), (_BUS, middle)]
            drawn.append(line(leads, style, start=one.flow is not Flow.IN))
        if middles:
            drawn.append(line([(_BUS, middles[0]), (_BUS, middles[-1])], style))
            comes_in = any(one.flow is not Flow.OUT for one in callers)
            drawn.append(line([(_BUS, port_y), (_NODE, port_y)], style, end=comes_in))
    return _Placed(drawn=tuple(drawn), end=y)


def _port(listener: Listener, middle: int) -> list[str]:
    number = f"{listener.port}/tcp" if listener.port else "any port"
    lines = [f"{number}  ({listener.process})", listener.protocol, listener.security.text]
    x, y = _NODE, middle - 26
    texts = (Text(x=x + 10, y=y + 17 + 14 * n, words=words, style="on-port") for n, words in enumerate(lines))
    return [
        group(
            [box(x, y, _PORT_WIDTH, 52, "port", corner=0), *texts],
            f"Port {number} on {listener.host}, {listener.protocol}, {listener.security.text}; {listener.setting}",
        )
    ]


def _all_called(found: Connections, *, local: bool, top: int) -> _Placed:
    """Boxes of those who are called, and on this machine the folders that results go to."""
    drawn: list[str] = []
    y = top
    for one in (one for one in found.called if one.local == local):
        shown = of_called(one)
        height = max(shown.height, 58)
        drawn += drawn_at(_RIGHT, y, shown)
        middle = y + height // 2
        begin = (_NODE + _NODE_WIDTH, middle)
        drawn.append(
            line(
                [begin, (_RIGHT, middle)],
                "bare" if one.security.tls is None else "tls",
                start=one.flow is not Flow.OUT,
                end=one.flow is not Flow.IN,
            )
        )
        drawn += _on_line(middle, one.protocol, one.security.text)
        y += height + _GAP
    for folder in found.folders if local else ():
        shown = of_folder(folder)
        drawn += drawn_at(_RIGHT, y, shown)
        middle = y + shown.height // 2
        drawn.append(line([(_NODE + _NODE_WIDTH, middle), (_RIGHT, middle)], "inside", end=True))
        drawn += _on_line(middle, "files", "no connection")
        y += shown.height + _GAP
    return _Placed(drawn=tuple(drawn), end=y)


def _on_line(middle: int, above: str, below: str) -> list[str]:
    x = (_NODE + _NODE_WIDTH + _RIGHT) // 2 + 8
    over = wrapped(above, 160, most=2)
    return [
        *(str(Text(x=x, y=middle - 8 - 14 * (len(over) - 1 - place), words=words, anchor="middle"))
          for place, words in enumerate(over)),
        str(Text(x=x, y=middle + 18, words=below, anchor="middle", style="small")),
    ]  # fmt: skip


def _legend(y: int) -> list[str]:
    def at(x: int, row: int, words: str) -> str:
        return str(Text(x=x, y=y + 18 + row * 26, words=words))

    return [
        box(_LEFT - 10, y - 6, _WIDTH - 20, 114, "network"),
        line([(_LEFT, y + 14), (_LEFT + 60, y + 14)], "tls", end=True),
        at(_LEFT + 74, 0, "encrypted: TLS, versions as written"),
        line([(_LEFT, y + 40), (_LEFT + 60, y + 40)], "bare", end=True),
        at(_LEFT + 74, 1, "not encrypted"),
        line([(_LEFT, y + 66), (_LEFT + 60, y + 66)], "inside", end=True),
        at(_LEFT + 74, 2, "files, no connection"),
        box(_LEFT, y + 82, 60, 16, "port", corner=0),
        at(_LEFT + 74, 3, "port that the node listens on"),
        *mark(_LEFT + 454, y, Data.IMAGES),
        at(_LEFT + 464, 0, "images, headers or messages that say who the patient is"),
        *mark(_LEFT + 454, y + 26, Data.UIDS),
        at(_LEFT + 464, 1, "pixels or UIDs without a name"),
        at(_LEFT + 440, 2, "Arrows point where data go. A port number stands at the side that listens;"),
        at(_LEFT + 440, 3, "the other side opens the connection. Answers and acknowledgements have no arrow."),
    ]


def _in_words(found: Connections) -> str:
    """The picture for those who do not see it."""
    lines = ["Connections that others open."]
    for listener in found.listeners:
        names = ", ".join(one.name for one in found.callers_of(listener)) or "nobody"
        place = "this machine" if listener.local else "the network"
        what = f"{listener.protocol}, {listener.security.text}"
        lines.append(f"Port {listener.port or 'any'} for {place}, {what}: used by {names}.")
    lines.append("Connections that the node opens.")
    lines += [
        f"{one.name} at {one.host} port {one.port}, {one.protocol}, {one.security.text}, data {one.flow.value}, "
        f"of patients: {one.data.value}."
        for one in found.called
    ]
    lines += [f"Folder {one.name}: {one.path}." for one in found.folders]
    return " ".join(lines)
