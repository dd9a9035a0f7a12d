"""The JSON Schema of the settings file, for editors: shapes from the models, words from the commented example.

What a model cannot say in a schema (names that must fit together, files that must be there) is left to
`imaging-node check`. What the schema refuses the node refuses, too.
"""

import inspect
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, Final, get_args

from pydantic import TypeAdapter

from node.settings import Settings
from node.settings.common import Part
from node.settings.rules import RULE_KEYWORDS

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
AS_ABOVE: Final = "as above"
"""Comment of a line whose setting another table of the example has explained."""
SITE: Final = "SITE"
"""Mark of a line that each site writes for itself."""

_TABLE: Final = re.compile(r"(?:# )?\[+([\w.]+)\]+")
_LINE: Final = re.compile(
    r"""(?:\#\ )?(?P<key>\w+)\ =\ (?P<value>(?:"[^"]*"|'[^']*'|[^"'\#])*)(?:\#\ (?P<words>.*))?""", re.VERBOSE
)
_MORE: Final = re.compile(r"\s{8,}# (.*)")
_UNITS: Final = {
    "_bytes_per_s": "Bytes per second",
    "_per_mm": "Per mm",
    "_s": "Seconds",
    "_minutes": "Minutes",
    "_hours": "Hours",
    "_days": "Days",
    "_mb": "MB",
    "_bytes": "Bytes",
    "seconds": "Seconds",
}
_CONDITION: Final[Schema] = {
    "description": 'A text (with * and ? a wildcard), any of several, a range, presence, or the opposite: "B3*", '
    '["B3*", "Br38*"], { min = 0.5, max = 3 }, { present = false }, { not = "MPR" }, { all = [...] }',
    "anyOf": [
        {"type": ["string", "number"]},
        {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1},
        *(
            {"type": "object", "properties": form, "required": required, "additionalProperties": False}
            for form, required in (
                ({"min": {"type": "number"}, "max": {"type": "number"}}, ["min"]),
                ({"max": {"type": "number"}}, ["max"]),
                ({"present": {"type": "boolean"}}, ["present"]),
                ({"not": {"$ref": "#/$defs/Condition"}}, ["not"]),
                ({"all": {"type": "array", "items": {"$ref": "#/$defs/Condition"}}}, ["all"]),
            )
        ),
    ],
}


def schema() -> Schema:
    """JSON Schema, draft 2020-12, of the whole file."""
    made = TypeAdapter(Settings).json_schema()
    definitions = made.pop("$defs")
    models = {model.__name__: model for model in _models(Settings)}
    said = words(example())
    for name, table in {**definitions, Settings.__name__: made}.items():
        if name in models:
            for key, value in table["properties"].items():
                table["properties"][key] = _described(key, value, said[models[name], key])
            table.pop("title", None)
    for union in _unions(made, definitions):
        for reference in union["oneOf"]:  # a model's default does not help to tell which model it is
            table = definitions[reference["$ref"].rpartition("/")[2]]
            table["required"] = sorted({*table.get("required", ()), union["discriminator"]["propertyName"]})
    definitions["Condition"] = _CONDITION
    definitions["Conditions"] = {
        "type": "object",
        "properties": {keyword: {"$ref": "#/$defs/Condition"} for keyword in sorted(RULE_KEYWORDS)},
        "additionalProperties": False,
    }
    return {
        "$schema": DIALECT,
        "title": "Settings of an imaging node",
        **made,
        "description": "One TOML file. Unknown keys stop the start; `imaging-node check` says what a schema cannot.",
        "$defs": dict(sorted(definitions.items())),
    }


def text() -> str:
    """The schema as a file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def example() -> str:
    """Text of the commented example, deploy/node.example.toml; it travels with the package."""
    return files("node.settings").joinpath("example.toml").read_text(encoding="utf-8")


def lines(toml: str) -> Iterator[tuple[str, str, str]]:
    """Every line of an example that sets something, also one that is commented out: (table, key, its comment).

    A comment goes on in the lines below it that hold nothing else. Where the line itself says nothing but SITE, the
    comment right above it counts; so it does for the head of a table, which is a key of the table around it. A table of
    several kinds is named with its own, as in "destinations:folder".
    """
    table, above, found = "", list[str](), list[tuple[str, str, str]]()
    for line in toml.splitlines():
        if match := _TABLE.fullmatch(line):
            around, _, key = ("." + match[1]).rpartition(".")
            found.append((around.removeprefix("."), key, " ".join(above)))
            table, above = match[1], []
        elif match := _MORE.fullmatch(line):
            where, key, begun = found.pop()
            found.append((where, key, f"{begun} {match[1]}"))
        elif match := _LINE.fullmatch(line):
            if match["key"] == "kind":
                table = f"{table}:{tomllib.loads(line)['kind']}"
            comment = (match["words"] or "").strip()
            found.append(
                (table, match["key"], " ".join([*above, comment]).strip() if comment in ("", SITE) else comment)
            )
            above = []
        else:
            above = [*above, line.removeprefix("# ")] if line.startswith("# ") else []
    return iter(found)


def words(toml: str) -> dict[tuple[type[Part], str], str]:
    """What the example says of each setting of each model: in its own table, else in that of a model that shares it."""
    tables: dict[str, type[Part]] = {"": Settings, **dict(_tables(Settings))}
    found = dict[tuple[type[Part], str], str]()
    for table, key, comment in lines(toml):
        model = tables.get(table)
        if model is not None and key in model.model_fields and comment and comment != AS_ABOVE:
            found.setdefault((model, key), comment)
            found.setdefault((_owner(model, key), key), comment)
    return {
        (model, key): found.get((model, key)) or found.get((_owner(model, key), key), "")
        for model in _models(Settings)
        for key in model.model_fields
    }


def _owner(model: type[Part], key: str) -> type[Part]:
    """The class that declares the setting: its heirs share the words."""
    return next(one for one in model.__mro__ if key in inspect.get_annotations(one))


def _parts(annotation: Any) -> Iterator[type[Part]]:
    """Models inside of a field's type."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for inner in get_args(annotation):
        yield from _parts(inner)


def _models(model: type[Part]) -> Iterator[type[Part]]:
    yield model
    for field in model.model_fields.values():
        for inner in _parts(field.annotation):
            yield from _models(inner)


def _tables(model: type[Part], path: str = "") -> Iterator[tuple[str, type[Part]]]:
    """Tables by the names that `lines` gives them."""
    for key, field in model.model_fields.items():
        for inner in _parts(field.annotation):
            name = f"{path}{key}"
            kind = inner.model_fields.get("kind")
            yield (name if kind is None else f"{name}:{get_args(kind.annotation)[0]}"), inner
            yield from _tables(inner, f"{name}.")


def _unions(*places: object) -> Iterator[Schema]:
    """Every choice between models by a key of theirs."""
    for place in places:
        if isinstance(place, dict):
            if "discriminator" in place:
                yield place
            yield from _unions(*place.values())
        elif isinstance(place, list):
            yield from _unions(*place)


def _described(key: str, value: Schema, said: str) -> Schema:
    """One setting: its words, then unit, range and default, as editors show them."""
    value = {name: part for name, part in value.items() if name != "title"}
    if value.get("additionalProperties") == {"$ref": "#/$defs/Condition"}:
        least = {name: part for name, part in value.items() if name == "minProperties"}
        value = {"$ref": "#/$defs/Conditions", **least, "description": value.get("description")}
    if {"type": "null"} in value.get("anyOf", ()):  # TOML has no null: what is not set is left out
        rest = [choice for choice in value.pop("anyOf") if choice != {"type": "null"}]
        value = {**(rest[0] if len(rest) == 1 else {"anyOf": rest}), **value}
    tables = "$ref" in value.get("items", {})  # none of them is the default, which goes without saying
    if value.get("default", {}) in (None, {}) or isinstance(value.get("default"), dict) or tables:
        value.pop("default", None)
    said = value.pop("description", None) or said
    sentences = [said, *_facts(key, value, said)]
    shown = ". ".join(sentence.rstrip(".") for sentence in sentences if sentence)
    return {"description": f"{shown}.", **value} if shown else value


def _facts(key: str, value: Mapping[str, Any], said: str) -> Iterator[str]:
    """Unit, range and default, as far as the words do not give them already."""
    unit = next((unit for end, unit in _UNITS.items() if key.endswith(end)), None)
    low, high = value.get("minimum"), value.get("maximum")
    bounds = [f"{low} to {high}"] if low is not None and high is not None else []
    if not bounds:
        known = (("exclusiveMinimum", "above"), ("minimum", "at least"), ("exclusiveMaximum", "below"))
        bounds = [f"{phrase} {value[name]:g}" for name, phrase in known if name in value]
    shown = ", ".join([*([unit] if unit else []), *(bound for bound in bounds if bound not in said)])
    if shown:
        yield shown[0].upper() + shown[1:]
    if "default" in value:
        yield f"Default: {json.dumps(value['default'])}"
