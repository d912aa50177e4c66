"""Dagster's storage in Postgres with a connection that stays open. Set in docker/dagster.yaml.

Dagster's own class opens a connection for each event, except in the webserver: Postgres starts a process for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, get_token_provider_from_config, pg_url_from_config


class OpenPostgresStorage(DagsterPostgresStorage):
    """Runs, events and schedules through one connection of the process, and further ones while threads need them.

    A connection that Postgres has closed since its last use, as after a restart, is replaced.
    """

    def __init__(self, postgres_url: str, *arguments: Any, **options: Any) -> None:
        super().__init__(postgres_url, *arguments, **options)
        engine = create_pg_engine(
            postgres_url,
            options.get("token_provider"),
            isolation_level="AUTOCOMMIT",
            pool_size=1,
            max_overflow=-1,
            pool_pre_ping=True,
        )
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = engine

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
            token_provider=get_token_provider_from_config(config_value),
        )
