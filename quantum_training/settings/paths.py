"""Paths under DAGSTER_HOME, and URLs without their passwords."""

from __future__ import annotations

import os
import re
from pathlib import Path


class SettingsError(ValueError):
    """The settings are wrong. The message lists field, value and what is allowed."""


def under_dagster_home(part: str) -> str:
    """Path of `part` under DAGSTER_HOME. SettingsError if that is unset."""
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        raise SettingsError(
            "DAGSTER_HOME is not set; export it, or set store_root, mlflow_tracking_uri, database_url and "
            "training_state_root"
        )
    return str(Path(home).absolute() / part)


def without_password(url: str) -> str:
    """A URL, or a text with one, with *** for its password: everything between the user and the last @."""
    return re.sub(r"(password=)[^&\s'\"]+", r"\1***", re.sub(r"(://[^:/?#\s]*):.*@", r"\1:***@", url, flags=re.DOTALL))
