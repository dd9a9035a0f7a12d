"""The boxes of the picture: who is on the other side, where, how it is proven, and what goes there."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from node.papers.facts import Called, Caller, Data, Folder
from node.papers.svg import LINE_PX, Text, box, group, wrapped

WIDTH: Final = 250  # px
_PAD: Final = 10
_MARKS: Final = {Data.IMAGES: "P", Data.IDENTITY: "P", Data.PIXELS: "p", Data.UIDS: "p"}


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box of somebody else. lines: text and style of each."""

    lines: tuple[tuple[str, str], ...]
    title: str
    data: Data

    @property
    def height(self) -> int:
        return len(self.lines) * LINE_PX + 2 * _PAD - 2


def of_caller(one: Caller) -> Box:
    """Who connects to the node."""
    places = ", ".join(one.addresses) or ("on this machine" if one.listener.local else "from any address")
    return _box(one.name, places, one.proof, one.carries, one.data, one.setting)


def of_called(one: Called) -> Box:
    """Whom the node calls."""
    return _box(one.name, f"{one.host}:{one.port}/tcp{_public(one.host)}", "", one.carries, one.data, one.setting)


def of_folder(one: Folder) -> Box:
    """A folder that results go to."""
    return _box(one.name, one.path, "", "results as files; a share if one is mounted there", Data.IMAGES, one.setting)


def _box(name: str, where: str, proof: str, carries: str, data: Data, setting: str) -> Box:
    room = WIDTH - 2 * _PAD
    shown = [
        *((words, "name") for words in wrapped(name, room - 24, most=2, font_px=14)),
        *((words, "") for words in wrapped(where, room, most=3)),
        *((words, "small") for words in wrapped(f"proof: {proof}" if proof else "", room, most=3, font_px=11)),
        *((words, "small") for words in wrapped(carries, room, most=4, font_px=11)),
    ]
    title = "; ".join(filter(None, (name, where, proof, carries, f"data of patients: {data.value}", setting)))
    return Box(lines=tuple(shown), title=title, data=data)


def drawn_at(x: int, y: int, one: Box) -> list[str]:
    """A box with its upper left corner there; px."""
    return [
        group(
            [
                box(x, y, WIDTH, one.height),
                *(
                    Text(x=x + _PAD, y=y + _PAD + 10 + LINE_PX * place, words=words, style=style)
                    for place, (words, style) in enumerate(one.lines)
                ),
                *mark(x + WIDTH, y, one.data),
            ],
            one.title,
        )
    ]


def mark(right: int, y: int, data: Data) -> list[str]:
    """At the upper right corner of a box: who gets data of patients."""
    letter = _MARKS.get(data)
    if letter is None:
        return []
    x, y = right - 14, y + 14
    full = letter == "P"
    return [
        f'<circle cx="{x}" cy="{y}" r="9" class="{"port" if full else "box"}" stroke="#000"/>',
        str(Text(x=x, y=y + 4, words=letter, style="on-port" if full else "letter", anchor="middle")),
    ]


def _public(host: str) -> str:
    try:
        return " (a public address)" if ip_address(host).is_global else ""
    except ValueError:
        return ""
