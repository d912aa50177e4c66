"""What is wrong with the settings, in sentences that say what to write instead. How they are read is settings.py."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from quantum_training.settings.paths import without_password
from quantum_training.sources import CandleSource

Location = tuple[int | str, ...]
_MAX_LISTED = 12
_DATE_ERRORS = ("date_type", "date_parsing", "date_from_datetime_parsing", "date_from_datetime_inexact")


def problems(error: ValidationError, settings: type[BaseModel], path: Path) -> list[str]:
    """A line for each wrong field: its line in the file, its name, its value, and what is allowed there.

    path: the YAML file. A field whose value comes from a variable has no line of its own.
    """
    root = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    lines = []
    for details in error.errors(include_url=False):
        place, kind = details["loc"], details["type"]
        number = _line(root, place)
        where = f"line {number}: " if number else ""
        shown = "" if kind == "missing" else f" = {details['input']!r}"
        field = without_password(f"{'.'.join(map(str, place))}{shown}: ") if place else ""
        lines.append(f"{where}{field}{_sentence(details, settings)}")
    return lines


def _sentence(details: Any, settings: type[BaseModel]) -> str:
    place, kind = details["loc"], details["type"]
    if kind == "extra_forbidden":
        return _unknown_field(str(place[-1]), _fields([settings], place[:-1]))
    if kind in _DATE_ERRORS:
        return "no date; write year, month and day, as 2018-12-31"
    if place[-1:] == ("[key]",) and place[0] in ("symbols", "recipes"):
        return _wrong_name(str(place[-2]), is_recipe=place[0] == "recipes")
    return str(details["msg"]).removeprefix("Value error, ")


def _unknown_field(name: str, allowed: Sequence[str]) -> str:
    near = get_close_matches(name, allowed, n=1, cutoff=0.7) or [field for field in allowed if field.startswith(name)]
    if near:
        return f"unknown field; did you mean {near[0]}?"
    more = ", ..." if len(allowed) > _MAX_LISTED else ""
    return f"unknown field; fields there are {', '.join(allowed[:_MAX_LISTED])}{more}"


def _wrong_name(name: str, is_recipe: bool) -> str:
    if is_recipe:
        example = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_")
        return f"no name of a recipe: lower-case letters, digits and _ are allowed, as {example or 'xgboost'}"
    example = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")
    remark = " (the market of an exchange keeps its slash, in source.market)" if "/" in name else ""
    return f"no name of a symbol: letters, digits, - and _ are allowed, as {example or 'BTC-USDT'}{remark}"


def _fields(types: Sequence[Any], place: Location) -> list[str]:
    """The names of the fields at a place below some types."""
    for part in place:
        below = [t for option in types for t in _below(option, part)]
        types = below or types  # the tag of a union leads nowhere
    models = [option for outer in types for option in _options(outer)]
    return list(dict.fromkeys(name for model in models for name in getattr(model, "model_fields", ())))


def _below(outer: Any, part: int | str) -> Iterator[Any]:
    for option in _options(outer):
        if isinstance(option, type) and issubclass(option, BaseModel):
            if part in option.model_fields:
                yield option.model_fields[str(part)].annotation
        elif get_args(option):
            yield get_args(option)[-1 if isinstance(part, str) else 0]


def _options(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows; of the sources, those that are loaded."""
    if get_origin(annotation) in (Union, UnionType):
        for option in get_args(annotation):
            yield from _options(option)
    elif get_origin(annotation) is Annotated:
        yield from _options(get_args(annotation)[0])
    elif annotation is CandleSource:
        yield from CandleSource.__subclasses__()
    else:
        yield annotation


def _line(node: yaml.Node | None, place: Location) -> int | None:
    """The line of the deepest part of a place that the file has; None if it has none of it."""
    line = None
    for part in place:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == part), None)
            if pair is None:
                continue
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
