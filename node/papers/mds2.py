"""MDS2.md: answers on security by the 23 groups of ANSI/NEMA HN 1-2019, with settings and the tests that prove them."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from node.conformance.document import Section, table
from node.papers.facts import Connections
from node.papers.ports import plainly
from node.settings import Settings
from node.settings.common import is_loopback

ANSWERS: Final = Path(__file__).with_suffix(".toml")

_PREFACE: Final = (
    "The groups are those of ANSI/NEMA HN 1-2019; questions and numbers are our own, not those of the form. **The node "
    "is not a medical device**: demonstration weights, not for diagnosis. Tests are named by file and function of the "
    "repository; an answer without one is a statement, or the site's own affair."
)


class Says(StrEnum):
    """The answers that the form knows."""

    YES = "Yes"
    NO = "No"
    NOTE = "See note"
    NOT_APPLICABLE = "N/A"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question and its answer.

    settings: keys of the settings file, or commands, that it rests on
    tests:    `path::name` of tests that prove it
    """

    question: str
    says: Says
    note: str
    settings: tuple[str, ...]
    tests: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Group:
    """One of the groups of the form."""

    code: str
    title: str
    answers: tuple[Answer, ...]


def groups(settings: Settings, found: Connections) -> list[Group]:
    """All groups, for one configuration."""
    facts = _facts(settings, found)
    return [
        Group(code=raw["code"], title=raw["title"], answers=tuple(_answer(one, facts) for one in raw["answer"]))
        for raw in tomllib.loads(ANSWERS.read_text(encoding="utf-8"))["group"]
    ]


def document(settings: Settings, found: Connections, *, version: str) -> str:
    """The answers as Markdown."""
    lines = [
        f"# Security answers in the manner of MDS2: imaging-node {version}",
        "",
        f"For the configuration of `{settings.receiver.ae_title}`, written by `imaging-node papers`. {_PREFACE}",
        "",
    ]
    for group in groups(settings, found):
        rows = (
            (f"{group.code} {n}", a.question, f"**{a.says}**", a.note, _marked(a.settings), _marked(a.tests))
            for n, a in enumerate(group.answers, start=1)
        )
        text = table(("No.", "Question", "Answer", "Note", "Settings, commands", "Tests"), rows)
        lines.extend(Section(title=f"{group.code}: {group.title}", text=(text,)).lines())
    return "\n".join(lines).rstrip() + "\n"


def _answer(raw: dict[str, object], facts: dict[str, str]) -> Answer:
    said = {key: str(raw[key]).format(**facts) for key in ("question", "says", "note")}
    return Answer(
        question=said["question"],
        says=Says(said["says"]),
        note=" ".join(said["note"].split()),
        settings=tuple(_listed(raw, "settings")),
        tests=tuple(_listed(raw, "tests")),
    )


def _listed(raw: dict[str, object], key: str) -> Iterator[str]:
    values = raw.get(key, [])
    assert isinstance(values, list)
    yield from map(str, values)


def _marked(values: tuple[str, ...]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _facts(settings: Settings, found: Connections) -> dict[str, str]:
    """What the answers take from the configuration."""
    kept, page, bare = settings.node.keep_days, settings.page.host, plainly(found)
    far = [one for one in found.listeners if not one.local]
    unproven = [one.setting for one in found.callers if one.listener.security.tls is None and not one.listener.local]
    unproven += [one.setting for one in found.called if one.security.tls is None and not one.local]
    return {
        "state": str(settings.node.state),
        "kept": "Files are kept for ever (`node.keep_days`)."
        if kept == "forever"
        else f"Files of a series are removed {kept:g} days after all is done with it.",
        "ups_keep_days": f"{settings.worklist.ups.keep_days:g}",
        "page": str(settings.page.port),
        "page_reach": f"{page}, " + ("this machine only" if is_loopback(page) else "open to other machines"),
        "open": (", ".join(f"{one.port}/tcp {one.protocol}, {one.security.text}" for one in far) or "no port")
        + " for other machines.",
        "naut": Says.NOTE if unproven else Says.YES,
        "unproven": ", ".join(f"`{one}`" for one in unproven) or "nobody",
        "connections": f"{len(found.listeners)} ports, {len(far)} for other machines; calls to {len(found.called)}.",
        "txcf": Says.NOTE if bare else Says.YES,
        "bare": f"Not encrypted between machines, with data of patients: {', '.join(f'`{one}`' for one in bare)}."
        if bare
        else "No data of patients travel between machines without encryption.",
    }
