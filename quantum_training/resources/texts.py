"""Texts as databases take them: of bounded length, and without the characters that Postgres refuses.

SQLite takes any text, Postgres does not, so a text that passed here would fail there. The whole text stays where it is
read: a reason in the ledger, in the event and in the configuration of the run.
"""

from __future__ import annotations

from collections.abc import Mapping

DAGSTER_TAG = 2_000
"""Bytes of a tag of a Dagster run. Key and value are one row of an index, for which Postgres allows 2,704 bytes."""
MLFLOW_RUN_TAG, MLFLOW_PARAM, MLFLOW_VERSION_TAG, MLFLOW_DESCRIPTION = 8_000, 6_000, 100_000, 5_000
"""Bytes of what MLflow 3.17 keeps. `create_run` does not check the length of its tags, Postgres does."""


def storable(text: str) -> str:
    """The whole text, with NUL and lone surrogates, which no UTF-8 has, as escapes."""
    return text.replace("\x00", "\\x00").encode(errors="backslashreplace").decode()


def bounded(text: str, limit: int) -> str:
    """`storable` text of at most `limit` bytes of UTF-8. A text that is cut ends with its length in characters."""
    whole = storable(text)
    data = whole.encode()
    if len(data) <= limit:
        return whole
    end = f" ... ({len(whole)} characters)"
    return data[: limit - len(end)].decode(errors="ignore") + end


def bounded_tags(tags: Mapping[str, str], limit: int = DAGSTER_TAG) -> dict[str, str]:
    """The tags with `bounded` values."""
    return {name: bounded(value, limit) for name, value in tags.items()}
