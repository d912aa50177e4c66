"""Where Optuna keeps the trials of searches: in the project's database, apart from the project's own tables.

Optuna names its tables `trials`, `studies`, `alembic_version`: in Postgres they are in a schema of their own, beside a
SQLite file in a file of their own, where a trial's writes and the ledger's do not wait for each other.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from quantum_training.models.installed import installed_release
from quantum_training.resources.database import sqlite_file, transaction
from quantum_training.resources.locks import exclusive_lock
from quantum_training.settings.paths import without_password

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

SCHEMA = "optuna"
"""The schema of the tables in Postgres."""
FILE = "searches.db"
"""The SQLite file beside the project's."""
WAIT_SECONDS = 60
"""How long a write waits for a reader of the SQLite file, as Optuna's dashboard is one."""


def searches_url(database_url: str) -> str:
    """The address of the trials. database_url: of the settings."""
    file = sqlite_file(database_url)
    if file is not None:
        return f"sqlite:///{Path(file).with_name(FILE)}"
    url = sa.make_url(database_url).update_query_dict({"options": f"-csearch_path={SCHEMA}"})
    return url.render_as_string(hide_password=False)


def shown_url(database_url: str) -> str:
    """The address as Optuna's dashboard takes it, without the password."""
    return without_password(searches_url(database_url))


def open_searches(database_url: str) -> RDBStorage:
    """Optuna's storage; its tables are created if they are missing. PackageMissingError without Optuna."""
    installed_release("optuna")
    return _open(database_url, os.getpid())


@cache
def _open(database_url: str, process: int) -> RDBStorage:
    """The storage of one process: a forked child must not share its parent's connections."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    is_file = sqlite_file(database_url) is not None
    options = {"connect_args": {"timeout": WAIT_SECONDS}} if is_file else {"pool_pre_ping": True}
    with exclusive_lock(database_url, "tables of searches"):  # Optuna lets two processes create them, and one fails
        if not is_file:
            transaction(database_url, lambda connection: connection.execute(sa.schema.CreateSchema(SCHEMA, True)))
        return optuna.storages.RDBStorage(searches_url(database_url), engine_kwargs=options)
