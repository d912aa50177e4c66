"""Paths under DAGSTER_HOME, and addresses as they may be shown."""

from __future__ import annotations

import os
import re
from pathlib import Path


class SettingsError(ValueError):
    """The settings are wrong. The message lists field, value and what is allowed."""


def under_dagster_home(part: str) -> str:
    """Path of `part` under DAGSTER_HOME. SettingsError where that is unset."""
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        raise SettingsError(
            "DAGSTER_HOME is not set; export it, or set store_root, mlflow_tracking_uri, database_url and "
            "training_state_root"
        )
    return str(Path(home).absolute() / part)


def without_password(url: str) -> str:
    """A URL, or a text that holds one, as it may be shown. All between a user and the last @ counts as password."""
    return re.sub(r"(password=)[^&\s'\"]+", r"\1***", re.sub(r"(://[^:/?#\s]*):.*@", r"\1:***@", url, flags=re.DOTALL))
