"""Reads the YAML file of the settings: a key is text and stands once, and a name is what the file says.

YAML 1.1 takes ON and no for booleans, 000660 for a number, 12:30 for minutes and NULL for nothing. What the settings
mean is settings.py.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_settings import YamlConfigSettingsSource

from quantum_training.settings.paths import SettingsError


class YamlFile(YamlConfigSettingsSource):
    """The source of settings that pydantic-settings reads, with the keys as the file has them."""

    def _read_file(self, file_path: Any) -> dict[str, Any]:
        return read_yaml(Path(str(file_path)))


class _Loader(yaml.SafeLoader):
    """Every key as its text; a key that stands twice in a mapping is a SettingsError."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                raise SettingsError(
                    f"{self.name}: line {line}: {key.value!r} is named twice, first in line {lines[key.value]}; "
                    "give one of them another name or delete it"
                )
            lines[key.value] = line
            if key.tag != "tag:yaml.org,2002:merge":
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


def _date(loader: _Loader, node: yaml.ScalarNode) -> Any:
    """A date or time; its text if there is no such day, for the settings to refuse by name."""
    try:
        return loader.construct_yaml_timestamp(node)
    except ValueError:
        return loader.construct_scalar(node)


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _date)


class _TextLoader(_Loader):
    """Every scalar as its text."""

    yaml_implicit_resolvers = {"<": yaml.SafeLoader.yaml_implicit_resolvers["<"]}  # noqa: RUF012 - as in PyYAML


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file. SettingsError if a key stands twice or the file is no mapping."""
    with path.open(encoding="utf-8") as file:
        settings = yaml.load(file, _Loader)  # noqa: S506 - a SafeLoader
    if settings is not None and not isinstance(settings, dict):
        raise SettingsError(f"{path}: it holds a {type(settings).__name__}; give settings, as `symbols: ...`")
    return settings or {}


def with_names_as_written(settings: dict[str, Any], error: ValidationError, path: Path) -> bool:
    """Replace what YAML took for something else by the text in the file, if the settings want a text there.

    settings: as read from the file `path`; changed in place. error: of their validation. False if nothing was replaced.
    """
    places = [e["loc"] for e in error.errors(include_url=False) if e["type"] == "string_type"]
    if not places:
        return False
    with path.open(encoding="utf-8") as file:
        texts = yaml.load(file, _TextLoader)  # noqa: S506 - a SafeLoader
    replaced = [_replace(settings, texts, place) for place in places]
    return any(replaced)


def _replace(settings: Any, texts: Any, place: tuple[int | str, ...]) -> bool:
    """Put the text of a place into the settings; False if the file has no text there."""
    *parents, last = place
    try:
        for parent in parents:
            settings, texts = settings[parent], texts[parent]
        text = texts[last]
        if isinstance(text, str) and not isinstance(settings[last], str):
            settings[last] = text
            return True
    except (KeyError, IndexError, TypeError):
        pass  # not of the file but of a variable, or beside the path that pydantic names
    return False
