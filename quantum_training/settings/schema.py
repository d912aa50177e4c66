"""The types of the settings: names, URLs, cron expressions, recipes and symbols."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any

import pandas as pd
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from quantum_training.features.indicators import FEATURES
from quantum_training.features.sets.feature_set import DEFAULT, SEPARATOR, FeatureSet
from quantum_training.features.sets.recipe_columns import columns_of, sets_of
from quantum_training.market.accepted_bars import AcceptedBars
from quantum_training.market.calendar_settings import ALWAYS_OPEN, CalendarSetting, CustomCalendar
from quantum_training.market.defects import SymbolLimits
from quantum_training.market.revision_policy import RevisionPolicy
from quantum_training.market.timeframe import DAY, Timeframe, beginning_at, grid_origin, to_timedelta
from quantum_training.models.sizing import Sizing
from quantum_training.settings.search import Search
from quantum_training.sources import CandleSource, source_from
from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.cross_section_label import CrossSection
from quantum_training.trading.own_label import RecipeLabel


def _url(value: str) -> str:
    """Refuse a user or password that is not percent-encoded: a library would read a part of it as host or port and
    print it in its errors."""
    rest = value.partition("://")[2]
    if not rest.startswith("/") and re.search(r"""[/@?#\s'"]""", rest.rpartition("@")[0]):
        raise ValueError("user or password hold characters that a URL must have percent-encoded, as %40 for @")
    return value


def _cron(value: str) -> str:
    """Accept the expressions that Dagster's schedules accept, except random times."""
    from croniter import croniter

    fields = croniter.expand(value)[0] if len(value.split()) == 5 and croniter.is_valid(value) else []
    nearest_weekday = re.search(r"\dw", value, re.IGNORECASE)  # newer syntax, which Dagster's own croniter lacks
    random = re.search(r"(^|[\s,])r", value, re.IGNORECASE)  # each process of Dagster would draw its own time
    if len(fields) != 5 or nearest_weekday or random or (fields[3] == [2] and fields[2] in ([30], [31])):
        raise ValueError("no cron expression; allowed: five fields, as '0 2 * * 1' for Monday 02:00 UTC")
    return value


ALGORITHMS = ("ensemble_regime", "ensemble_stack", "ensemble_vote", "forecaster", "lightgbm", "pooled_lightgbm", "ppo",
              "sac", "xgboost")  # fmt: skip
"""The modules of quantum_training.models that have a Model."""


def _algorithm(value: str) -> str:
    """Refuse a name that this package does not have. A dotted path is tried when it is needed: it stops no other."""
    if value not in ALGORITHMS and "." not in value:
        own = ", ".join(ALGORITHMS)
        raise ValueError(f"no such algorithm; allowed: {own}, or the dotted path of a module of your own")
    return value


Cron = Annotated[str, AfterValidator(_cron)]


Url = Annotated[str, AfterValidator(_url)]


NAME_PATTERN, NAME_LENGTH = r"^[A-Za-z0-9][A-Za-z0-9_-]*$", 64


Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=NAME_LENGTH)]


Owner = Annotated[str, Field(pattern=r"^(team:\S+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7})$")]


TagKey = Annotated[str, Field(pattern=r"^([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}$")]


TagValue = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{0,63}$")]


FunctionPath = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]


RecipeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Resources(_Frozen):
    """The cluster resources of one training. A field that is not set: the default of Ray or Kubernetes."""

    cpu: float | None = Field(None, gt=0, description="CPU cores.")
    memory_gib: float | None = Field(None, gt=0, description="Memory in GiB; on Kubernetes also the limit.")
    gpu: int = Field(0, ge=0, description="GPUs. A recipe that needs one trains in the pool `gpu`.")


class Recipe(_Frozen):
    """Algorithm + features + hyper-parameters + label. A new version of it is trained every week."""

    algorithm: Annotated[str, AfterValidator(_algorithm)] = Field(
        description="Module with a class Model: a name in quantum_training.models or a dotted path."
    )
    features: tuple[str, ...] = Field(
        (),
        description="What it learns from: `default`, sets that `features` of the settings names, single columns as "
        "rsi_14 or momentum__slope; empty: default.",
    )
    label: RecipeLabel
    window_bars: int = Field(1000, ge=50, description="Newest labelled bars that a fit sees.")
    validation_fraction: float = Field(0.2, gt=0, lt=0.5, description="Newest share of the window for early stopping.")
    sizing: Sizing = Sizing()
    seed: int = Field(7, ge=0, description="Seed of the fit, the first one of several.")
    seeds: int = Field(
        1, ge=1, le=50, description="Fits per version; the one of median score becomes it, all count as trials."
    )
    warm_start: bool = Field(False, description="Start from the newest version instead of from scratch; agents only.")
    replay: bool = Field(
        False, description="Learn first from what earlier versions and baselines did in the shadow; sac only."
    )
    every_weeks: int = Field(
        1,
        ge=1,
        le=52,
        description="Trained in every n-th week, counted from 1970-01-05, and where a symbol has no version or missed "
        "its week; in between the newest version goes on.",
    )
    members: tuple[RecipeName, ...] = Field(
        (), description="Recipes that an ensemble combines; empty: all that are no ensembles. Others have none."
    )
    params: dict[str, Any] = Field({}, description="Hyper-parameters of the algorithm.")
    resources: Resources = Field(Resources(), description="What a training needs of a cluster; changes no version.")
    search: Search | None = Field(None, description="What the job `search` varies of it; changes no version.")
    found_by: str = Field(
        "",
        pattern=r"^([0-9a-f]{16})?$",
        description="Id of the search that found it: its trials count against the recipe, and no version is trained as "
        "of a time that the search knew.",
    )

    _feature_sets: dict[str, FeatureSet] = PrivateAttr(default_factory=dict)
    _searched_sets: dict[str, FeatureSet] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _accepts_what_is_searched(self) -> Recipe:
        space = self.search.space if self.search else {}
        for place, value in self.search.extremes if self.search else ():
            parent, _, last = place.rpartition(".")
            try:
                self.with_values({place: value})
            except ValidationError as error:
                problem = error.errors()[0]
                siblings = [other for other in space if other != place and other.rpartition(".")[0] == parent]
                if siblings and problem["loc"][-1] != last:
                    continue  # it depends on them, as sizing.full on sizing.break_even: the trial tells
                at = ".".join(map(str, problem["loc"]))
                raise ValueError(f"search.space.{place}: {value!r} is refused, {at}: {problem['msg']}") from None
        return self

    def with_values(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe with other values of these fields, as {"params.max_depth": 3}, and without a search.

        ValidationError if it refuses one.
        """
        fields = self.model_dump(mode="json", exclude={"search", "found_by"})
        for place, value in values.items():
            *parents, last = place.split(".")
            inner = fields
            for parent in parents:
                if not isinstance(inner.get(parent), dict):
                    inner[parent] = {}
                inner = inner[parent]
            inner[last] = value
        recipe = Recipe.model_validate(fields)
        recipe._feature_sets = sets_of(recipe.features, {**self._searched_sets, **self._feature_sets})
        return recipe

    @property
    def used_sets(self) -> Mapping[str, FeatureSet]:
        """The sets among its `features`, and among those that its search may choose, by name."""
        return {**self._searched_sets, **self._feature_sets}

    @property
    def feature_sets(self) -> Mapping[str, FeatureSet]:
        """The sets among its `features`, by name."""
        return self._feature_sets

    @property
    def label_universe(self) -> str:
        """The universe within which its label compares; "" if it compares with nobody."""
        return self.label.within if isinstance(self.label, CrossSection) else ""

    @property
    def label_universes(self) -> tuple[str, ...]:
        """The same of its label and of those that its search may choose."""
        space = self.search.space if self.search else {}
        labels = (space["label"].choices or ()) if "label" in space else ()
        names = (space["label.within"].choices or ()) if "label.within" in space else ()
        searched = (*(label.get("within", "") for label in labels), *names)
        return tuple(name for name in dict.fromkeys((self.label_universe, *searched)) if name)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it learns from, in order. FeatureSetError if a set cannot be used."""
        return columns_of(self.features, self._feature_sets)

    def find_sets(self, sets: Mapping[str, FeatureSet]) -> None:
        """Look its sets up among those of the settings. ValueError for a name that is neither a set nor a feature."""
        dimension = self.search.space.get("features") if self.search else None
        searched = tuple(entry for choice in (dimension.choices or () if dimension else ()) for entry in choice)
        entries = (*self.features, *searched)
        if unknown := [e for e in entries if e.partition(SEPARATOR)[0] not in (DEFAULT, *FEATURES, *sets)]:
            allowed = ", ".join((DEFAULT, *sets, *FEATURES))
            raise ValueError(f"unknown {', '.join(unknown)}; allowed: {allowed}")
        self._feature_sets = sets_of(self.features, sets)
        self._searched_sets = sets_of(searched, sets)


class Symbol(_Frozen):
    """One market: its source of candles, trading hours, costs and competing recipes."""

    source: Annotated[CandleSource, PlainValidator(source_from)]
    timeframe: Timeframe = Field(
        "1d",
        description="Length of a bar: minutes, hours or days that divide a day, as 5m, 1h, 1d. On 24/7 also 3d and "
        "1w, with the day on which one begins, as 1w from Thursday, 3d from 1970-01-02; by default that of the "
        "exchange if it is known, else Monday and 1970-01-01.",
    )
    calendar: CalendarSetting = Field(
        "24/7",
        description="'24/7', FX, a code of exchange_calendars as XNYS, or what differs from it: {name: XBOM, add: "
        "[...], drop: [...], hours: ..., breaks: [...], align: ...}.",
    )
    costs: Costs = Costs()
    account: Account = Account()
    recipes: tuple[RecipeName, ...] = Field(
        description="The recipes that compete. []: nothing is trained; others may read its bars."
    )
    start: date | None = Field(None, description="First day of a market that is younger than `start` of all symbols.")
    end: date | None = Field(None, description="Last day of a market whose data have ended, as those of a recording.")
    quality: SymbolLimits = Field(SymbolLimits(), description="Limits of the quality gate that differ for this symbol.")
    accepted_bars: tuple[AcceptedBars, ...] = Field(
        (), description="Bars and closed periods that are accepted although the quality gate would refuse them."
    )

    revisions: RevisionPolicy | None = Field(
        None,
        description="If the source has changed bars that are stored: refuse newer bars, restate the stored ones, or "
        "keep them. Not set: restate for sources that adjust their history (yfinance), refuse for others.",
    )

    @field_validator("timeframe")
    @classmethod
    def _begins_as_the_source_has_it(cls, timeframe: str, info: ValidationInfo) -> str:
        if to_timedelta(timeframe) <= DAY:
            return timeframe
        source = info.data.get("source")
        timeframe = source.with_begin(timeframe) if source else timeframe
        return beginning_at(timeframe, grid_origin(timeframe))

    @model_validator(mode="after")
    def _source_knows_the_calendar(self) -> Symbol:
        if to_timedelta(self.timeframe) > DAY and self.calendar != ALWAYS_OPEN:
            raise ValueError(
                f"bars of {self.timeframe} are for calendar '24/7' only, as sessions and holidays do not divide into "
                "equal bars of several days; set timeframe: 1d"
            )
        self.source.traded_by(self.calendar)
        return self

    @property
    def revision_policy(self) -> RevisionPolicy:
        """What is done if the source has changed bars that are stored."""
        return self.revisions or ("restate" if self.source.revises_history else "refuse")

    def first_day(self, of_all: date) -> pd.Timestamp:
        """The first day of the symbol's candles, 00:00 UTC. of_all: `start` of the settings."""
        return pd.Timestamp(self.start or of_all, tz="UTC")

    @property
    def identity(self) -> dict[str, Any]:
        """Which market this is, by the names of the settings: what of it makes other bars, as plain JSON."""
        calendar = self.calendar.identity if isinstance(self.calendar, CustomCalendar) else self.calendar
        source = {f"source.{option}": value for option, value in self.source.identity.items()}
        return {**source, "timeframe": self.timeframe, "calendar": calendar}
