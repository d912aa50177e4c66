"""Reading the settings of this process, and the variables that another process needs to read the same."""

from __future__ import annotations

import os

import yaml
from pydantic import ValidationError

from quantum_training.settings.paths import SettingsError
from quantum_training.settings.problems import problems
from quantum_training.settings.replaced_variables import is_replaced
from quantum_training.settings.settings import Settings, config_path, variables


def environment() -> list[str]:
    """The names of the set environment variables that the settings read. Another process needs the same variables."""
    names = {"DAGSTER_HOME", *variables().values()}
    return sorted(n for n in os.environ if n in names or n.startswith("QUANTUM_TRAINING_") or is_replaced(n))


def load_settings() -> Settings:
    """Read and validate the settings. SettingsError lists every wrong field with its value and what is allowed."""
    path = config_path()
    if not path.is_file():
        raise SettingsError(f"{path}: no such settings file; set QUANTUM_TRAINING_CONFIG to one or unset it")
    try:
        return Settings()
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: no valid YAML: {error}") from None
    except ValidationError as error:
        lines = "".join(f"\n  {problem}" for problem in problems(error, Settings, path))
        raise SettingsError(f"{path}: the settings are wrong{lines}") from None
