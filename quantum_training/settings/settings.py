"""Typed settings from one YAML file and the environment. Each field describes its option.

The file is the one that QUANTUM_TRAINING_CONFIG names, else default.yaml of this package. Operators' variables
(TRAINING_CRON_SCHEDULE, ...) override it by their own names, every other field as QUANTUM_TRAINING_<FIELD>.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from quantum_training.features.sets.feature_set import FeatureSet
from quantum_training.market.quality import QualityLimits
from quantum_training.market.universe import Universe
from quantum_training.monitoring.decay_policy import DecayPolicy
from quantum_training.monitoring.drift_policy import DriftPolicy
from quantum_training.selection.harm import RollbackPolicy
from quantum_training.selection.joint_rule import JointRule, PromotionRule
from quantum_training.selection.refresh import RefreshPolicy
from quantum_training.selection.rollout_policy import RolloutPolicy
from quantum_training.settings.alerting import AlertPolicy
from quantum_training.settings.cross_checks import (
    check_days,
    check_recipe_names,
    check_universes,
    check_windows,
    resolve_feature_sets,
)
from quantum_training.settings.replaced_variables import replaced_settings
from quantum_training.settings.retraining import RetrainingPolicy
from quantum_training.settings.schema import (
    Cron,
    FunctionPath,
    Name,
    Owner,
    Recipe,
    RecipeName,
    Symbol,
    TagKey,
    TagValue,
    Url,
)
from quantum_training.settings.series import Series
from quantum_training.settings.service import ServiceSettings
from quantum_training.settings.yaml_file import YamlFile, with_names_as_written


class Settings(BaseSettings):
    """All settings. Unknown fields are refused."""

    model_config = SettingsConfigDict(
        env_prefix="QUANTUM_TRAINING_", env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True
    )

    start: date = Field(description="First day of the partitions; no candle before it is kept.")
    end: date | None = Field(
        None, description="Last day of the data of all symbols. A symbol's own `end` says it of a single market."
    )
    symbols: dict[Name, Symbol] = Field(min_length=1)
    recipes: dict[RecipeName, Recipe] = Field(min_length=1)
    features: dict[RecipeName, FeatureSet] = Field(
        {}, description="Feature sets of your own by name, each a module; a recipe names those that it learns from."
    )
    series: dict[Name, Series] = Field(
        {}, description="Values that are no candles by name, as a funding rate, for feature sets that read them."
    )
    universes: dict[RecipeName, Universe] = Field(
        {}, description="Which symbols belong together when, by name, for feature sets and labels that rank them."
    )
    metrics: dict[RecipeName, FunctionPath] = Field(
        {}, description="Metrics of your own by name: the dotted path of a function of returns, positions and periods."
    )
    owners: tuple[Owner, ...] = Field(
        ("team:quant",), description="Owners of the assets in Dagster: mail addresses or team:NAME."
    )
    tags: dict[TagKey, TagValue] = Field({}, description="Tags of the assets in Dagster, to search and select by.")
    quality: QualityLimits = QualityLimits()
    promotion: PromotionRule = JointRule()
    rollback: RollbackPolicy = RollbackPolicy()
    rollout: RolloutPolicy = Field(
        RolloutPolicy(), description="How a champion's share of capital grows, and what takes it back."
    )
    refresh: RefreshPolicy = Field(
        RefreshPolicy(), description="What a recipe's new version must pass before it takes over from the older one."
    )
    drift: DriftPolicy = Field(DriftPolicy(), description="How the week before a day is tested for drift.")
    retraining: RetrainingPolicy = Field(
        RetrainingPolicy(), description="When the sensors train inside the week. Read anew at every tick."
    )
    decay: DecayPolicy = Field(
        DecayPolicy(), description="How a champion's record in office is held against its record before it."
    )
    alerts: AlertPolicy = Field(AlertPolicy(), description="Where failures are told, and how often.")
    service: ServiceSettings = Field(
        ServiceSettings(), description="The HTTP service: where it listens, and how much a client may ask."
    )
    backtest_weeks: int = Field(26, ge=1, le=520, description="Weeks of the walk-forward record that a backtest shows.")
    market_data_cron_schedule: Cron | None = Field(
        None,
        description="When candles and features of all symbols are brought up to date, UTC; default: a minute after the "
        "bars of the shortest timeframe close, 00:30 for daily bars, and then only symbols that lack bars.",
    )
    drift_cron_schedule: Cron = Field(
        "0 1 * * *", description="When the week up to this day's 00:00 is tested for drift, UTC; after the market data."
    )
    signals_cron_schedule: Cron | None = Field(
        None,
        description="When the signals of all symbols are made, UTC; default: five minutes past each hour, or after the "
        "bars of a shorter timeframe close.",
    )
    housekeeping_cron_schedule: Cron = Field(
        "0 4 * * 6", description="When what is older than model_retention_days is removed, UTC."
    )
    training_state_root: str = Field(
        "", description="Folder in which a killed training finds its state; default: DAGSTER_HOME/training_state."
    )
    store_root: str = Field("", description="Root of the Parquet store, any fsspec URL; default: DAGSTER_HOME/store.")
    database_url: Url = Field(
        "",
        pattern=r"^$|^sqlite:///.|^postgresql\+psycopg2://",
        description="Ledger and events: sqlite:///FILE or postgresql+psycopg2://...; default: SQLite in DAGSTER_HOME. "
        "The password is best left to PGPASSWORD or ~/.pgpass.",
    )
    event_bus_url: Url = Field(
        "",
        pattern=r"^$|^(rediss?|unix)://",
        description="Redis that carries events out and in, redis://...; default: the tables outbox and inbox alone.",
    )
    mlflow_tracking_uri: Url = Field("", description="MLflow; default: SQLite under DAGSTER_HOME/mlflow.")
    mlflow_ui_url: str = Field(
        "http://127.0.0.1:5000", pattern=r"^https?://\S+$", description="Where links to MLflow runs point."
    )

    executor: Literal["in_process", "ray"] = Field(
        "in_process",
        description="Where the steps of a run are executed: in its own process, or each as a job of the Ray cluster "
        "that RAY_ADDRESS names.",
    )

    training_cron_schedule: Cron = Field(
        "0 2 * * 1",
        validation_alias="training_cron_schedule",
        description="When versions are trained, UTC: the first time of a week runs the weekly cycle, each later one "
        "trains inside the week as of the newest bar.",
    )
    min_training_data_points: int = Field(
        100,
        ge=10,
        validation_alias="min_training_data_points",
        description="Fewer labelled bars: recorded as insufficient.",
    )
    training_batch_size: int | None = Field(
        None,
        ge=10,
        validation_alias="training_batch_size",
        description="Newest bars per fit; default: the recipe's window_bars.",
    )
    max_concurrent_training_jobs: int = Field(
        3,
        ge=1,
        validation_alias="max_concurrent_training_jobs",
        description="Training runs at a time: limit of pool `training`. On top comes what `retrain`, "
        "`clm_cycle` and `benchmark` train, one such run at a time.",
    )
    training_job_timeout: int = Field(
        3600, ge=1, validation_alias="training_job_timeout", description="Seconds until a weekly run is stopped."
    )
    training_retry_attempts: int = Field(
        3,
        ge=0,
        le=20,
        validation_alias="training_retry_attempts",
        description="Restarts of a run whose process died, and further tries of a step whose fault can pass.",
    )
    model_retention_days: int = Field(
        30,
        ge=1,
        validation_alias="model_retention_days",
        description="Age at which versions that nothing needs, reports, logs and events are removed.",
    )
    rl_training_enabled: bool = Field(
        True,
        validation_alias="rl_training_enabled",
        description="Off: no sensor trains an agent for which `retraining.recipes` has no entry.",
    )
    rl_training_interval_minutes: int | None = Field(
        None,
        ge=1,
        validation_alias="rl_training_interval_minutes",
        description="interval_minutes of the agents for which `retraining.recipes` has no entry.",
    )
    rl_training_episodes_per_run: int | None = Field(
        None,
        ge=1,
        validation_alias="rl_training_episodes_per_run",
        description="episodes_per_run of the agents for which `retraining.recipes` has no entry.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        "INFO", validation_alias="log_level", description="Level of the run logs on the console."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (
            init_settings,
            InitSettingsSource(settings_cls, init_kwargs=replaced_settings(os.environ, variables())),
            env_settings,
            YamlFile(settings_cls, config_path()),
        )

    def last_day(self, symbol: str) -> date | None:
        """The last day of a symbol's data; None: they go on."""
        return min((day for day in (self.symbols[symbol].end, self.end) if day), default=None)

    @property
    def last_day_of_all(self) -> date | None:
        """The last day of the partitions; None if the data of a symbol go on."""
        days = [self.last_day(symbol) for symbol in self.symbols]
        return None if None in days else max(day for day in days if day)

    @property
    def trained_symbols(self) -> list[str]:
        """The symbols with recipes. Of the others there are market data only."""
        return [name for name, symbol in self.symbols.items() if symbol.recipes]

    def feature_sets(self, symbol: str) -> dict[str, FeatureSet]:
        """The sets that the recipes of a symbol learn from, or may learn from in a search, by name."""
        used = {name for recipe in self.symbols[symbol].recipes for name in self.recipes[recipe].used_sets}
        return {name: feature_set for name, feature_set in self.features.items() if name in used}

    @property
    def seeds(self) -> dict[str, int]:
        """The number of fits per version, by recipe."""
        return {name: recipe.seeds for name, recipe in self.recipes.items()}

    @model_validator(mode="wrap")
    @classmethod
    def _read_names_as_text(cls, settings: Any, validate: ModelWrapValidatorHandler[Settings]) -> Settings:
        try:
            return validate(settings)
        except ValidationError as error:
            if not with_names_as_written(settings, error, config_path()):
                raise
            return validate(settings)

    @model_validator(mode="after")
    def _sections_fit_together(self) -> Settings:
        check_days(self.start, self.end, self.symbols)
        resolve_feature_sets(self.features, self.symbols, self.series, self.universes, self.recipes)
        check_universes(self.universes, self.symbols, self.end)
        check_recipe_names(self.symbols, self.recipes, self.universes, self.retraining.recipes)
        check_windows(self.recipes, self.training_batch_size, self.min_training_data_points)
        return self


def config_path() -> Path:
    """The YAML file from which the settings are read."""
    return Path(os.environ.get("QUANTUM_TRAINING_CONFIG") or Path(__file__).parents[1] / "default.yaml")


def variables() -> dict[str, str]:
    """The environment variable of each field."""
    return {n: str(f.validation_alias or f"QUANTUM_TRAINING_{n}").upper() for n, f in Settings.model_fields.items()}
