"""A feature set: a module of one's own whose function `compute` makes columns from candles.

`features` of the settings names the sets, `features` of a recipe those that it learns from. The features that come with
the project are indicators.py. What a set's code hashes to is models/feature_set_hash.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from quantum_training.features.indicators import WARMUP_BARS, compute_features
from quantum_training.features.sets.expansion import (
    Variant,
    bars_needed,
    higher_bars,
    newest_known,
    suffix_of,
    variants,
)
from quantum_training.features.sets.ranks import RANK
from quantum_training.market.series_schema import VALUE
from quantum_training.market.timeframe import Timeframe, close_times, to_timedelta

DEFAULT = "default"
"""What a recipe calls the features of indicators.py."""
SEPARATOR = "__"
"""Between the name of a set and that of its column: libraries and Dagster's checks take no dot in a name."""
COLUMN = re.compile(r"[A-Za-z](?!\w*__)\w*", re.ASCII)
MAX_WARMUP_BARS = 5000


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class FeatureSetError(ValueError):
    """A set that cannot be used. The message names the set, the rule and what to do."""


class FeatureSet(BaseModel):
    """A module with `COLUMNS`, `WARMUP_BARS` and `compute`, and how its columns are expanded.

    `compute(candles, **params)` returns a frame with the index of `candles` and the columns COLUMNS. Each row may use
    its own bar and the WARMUP_BARS before it. COLUMNS maps each column to a sentence that says what it is, with its
    unit. COLUMNS and WARMUP_BARS may also be functions of the params.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    module: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$", description="Dotted path of the module.")
    params: dict[str, Any] = Field({}, description="Arguments of its function `compute`.")
    param_grid: dict[str, Annotated[tuple[Any, ...], Field(min_length=1, max_length=100)]] = Field(
        {}, description="Params of which each value gives columns of its own, as bars: [14, 50]; all combinations."
    )
    timeframes: tuple[Timeframe, ...] = Field(
        (), description="Higher timeframes, made of the symbol's bars, whose columns are added; known at their close."
    )
    shifts: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        (), description="Numbers of bars ago of which the columns are added, in bars of each timeframe."
    )
    of: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(
        (),
        description="Symbols from whose bars it is computed instead of the recipe's own, as BTC-USDT: each gives "
        "columns of its own, which a row has as they are known at its close.",
    )
    series: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(
        (),
        description="Series from whose values it is computed instead of bars, as vix; otherwise as `of`.",
    )
    within: str = Field(
        "",
        description="Universe among whose members each column is ranked at each bar, from 0 for the lowest value to 1 "
        "for the highest. The settings fill `of` with its symbols.",
    )
    late: Literal["wait", "missing"] = Field(
        "wait",
        description="If what a set with `of`, `series` or `within` reads is not stored yet: trainings and scores wait "
        "for it, or their rows are without its columns.",
    )

    @model_validator(mode="after")
    def _fields_fit_together(self) -> FeatureSet:
        if (self.of or self.within) and self.series:
            reads = "within" if self.within else "of"
            raise ValueError(f"{reads} and series: a set reads bars or values; make two sets")
        if self.late != "wait" and not (self.read_from or self.within):
            raise ValueError("late is for sets with `of`, `series` or `within`; take it out, or name what it reads")
        if self.series and self.timeframes:
            raise ValueError("timeframes are for sets that read bars; use params for longer spans of a series")
        return self

    @property
    def read_from(self) -> tuple[str, ...]:
        """The other symbols, or the series, that it is computed from; none: it is computed from a symbol's own bars."""
        return self.of or self.series

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What the names of its columns for a recipe end with: one for each that it is computed from."""
        return (RANK,) if self.within else self.read_from or ("",)

    def variants(self) -> list[Variant]:
        """All ways to compute its columns."""
        return [*variants(self.params, self.param_grid, self.timeframes, self.shifts)]

    def columns(self, name: str) -> dict[str, str]:
        """What each column that a recipe learns from is, by its full name: `momentum__slope` of the set `momentum`,
        `btc__slope_BTC_USDT` of bars of BTC-USDT, `momentum__slope_rank` of its rank. FeatureSetError if the module
        declares none, or if two have one name.
        """
        remark = f", its {RANK} within {self.within}" if self.within else ""
        return _unique(
            name,
            [
                (f"{column}{suffix_of(end) if end else ''}", f"{text}{remark or (f', of {end}' if end else '')}")
                for end in self.suffixes
                for column, text in self.stored_columns(name).items()
            ],
        )

    def stored_columns(self, name: str) -> dict[str, str]:
        """What each column of one symbol's bars is, by the name under which it is stored. Errors as in `columns`."""
        return _unique(
            name,
            [
                (f"{name}{SEPARATOR}{column}{variant.suffix}", f"{text}{variant.description}")
                for variant in self.variants()
                for column, text in self._declared_columns(name, variant.params).items()
            ],
        )

    def warmup_bars(self, name: str, timeframe: str) -> int:
        """Bars of a timeframe before a row that its values depend on. FeatureSetError if the module declares none."""
        oldest = max((0, *self.shifts))
        return max(
            bars_needed(self._declared_warmup(name, variant.params) + oldest, variant.timeframe, timeframe)
            for variant in self.variants()
        )

    def compute(self, name: str, candles: pd.DataFrame, since: pd.Timestamp, timeframe: str) -> pd.DataFrame:
        """The columns of the bars of a timeframe that open at or after `since`, float64, by their stored names.

        The module gets no more bars before `since` than the warm-up. Rows with fewer bars before them are NaN, as are
        rows for which the module gives NaN. FeatureSetError if it gives anything else than the declared columns of all
        bars, or infinity; else what the module raises.
        """
        warmup, columns = self.warmup_bars(name, timeframe), self.stored_columns(name)
        first = int(candles.index.searchsorted(since))
        start = max(first - warmup, 0)
        history = candles.iloc[start:]
        closed = close_times(pd.DatetimeIndex(history.index), timeframe)
        bars = {chosen: self._bars(name, history, chosen, timeframe) for chosen in (None, *self.timeframes)}
        newest: dict[str | None, np.ndarray] = {None: np.arange(len(history))}
        newest |= {of: newest_known(pd.DatetimeIndex(bars[of].index), of, closed) for of in self.timeframes}
        rows = np.full((len(columns), len(history)), np.nan).T  # column by column, as pandas and Parquet have them
        done, last = 0, None
        for variant in self.variants():
            if (variant.params, variant.timeframe) != last:
                values = self._values(name, bars[variant.timeframe], variant.params)
                begin, last = self._declared_warmup(name, variant.params), (variant.params, variant.timeframe)
            source = newest[variant.timeframe] - variant.shift
            first_row = int(source.searchsorted(begin))
            taken = values[source[first_row:]] if variant.timeframe else values[begin : begin + len(rows) - first_row]
            rows[first_row:, done : done + values.shape[1]] = taken
            done += values.shape[1]
        rows[: max(warmup - start, 0)] = np.nan
        return pd.DataFrame(rows[first - start :], candles.index[first:], list(columns), copy=False)

    def _bars(self, name: str, candles: pd.DataFrame, timeframe: str | None, own: str) -> pd.DataFrame:
        if timeframe is None:
            return candles
        if to_timedelta(timeframe) <= to_timedelta(own):
            raise FeatureSetError(
                f"features.{name}: timeframes has {timeframe}, which is not higher than the symbol's bars of {own}; "
                "drop it, or make a set of its own for this symbol"
            )
        return higher_bars(candles, timeframe)

    def _values(self, name: str, bars: pd.DataFrame, params: Mapping[str, Any]) -> np.ndarray:
        """What the module makes of these bars, bars x columns."""
        columns = self._declared_columns(name, params)
        if bars.empty:
            return np.empty((0, len(columns)))
        return self._checked(name, self._function(name)(bars.copy(), **params), bars.index, [*columns])

    def _checked(self, name: str, made: Any, bars: pd.Index, columns: Sequence[str]) -> np.ndarray:
        """The values of a frame that the module made, bars x columns. FeatureSetError names what is wrong with it."""
        problem = None
        if not isinstance(made, pd.DataFrame):
            problem = f"returned a {type(made).__name__}, not a DataFrame"
        elif not made.index.equals(bars):
            problem = f"returned {len(made)} rows for {len(bars)} bars, or other times; keep the index of the candles"
        elif sorted(map(str, made.columns)) != sorted(columns):
            different = ", ".join(sorted({*map(str, made.columns)} ^ {*columns})) or "a name twice"
            problem = f"returned other columns than COLUMNS has: {different}"
        if problem is None:
            try:
                chosen = made if [*made.columns] == [*columns] else made[[*columns]]
                values: np.ndarray = chosen.to_numpy(dtype="float64", na_value=np.nan)
            except (ValueError, TypeError) as error:
                problem = f"returned what is no number: {error}"
            else:
                if not np.isinf(values).any():
                    return values
                row, column = np.argwhere(np.isinf(values))[0]
                problem = f"returned infinity in {columns[column]} of the bar {bars[row]}; give NaN or a bound instead"
        raise FeatureSetError(f"features.{name}: compute of {self.module} {problem}")

    def _declared_columns(self, name: str, params: Mapping[str, Any]) -> dict[str, str]:
        declared = self._declared(name, "COLUMNS", params)
        texts = isinstance(declared, Mapping) and all(isinstance(text, str) for text in declared.values())
        if not texts or not declared or not all(COLUMN.fullmatch(str(column)) for column in declared):
            raise FeatureSetError(
                f"features.{name}: COLUMNS of {self.module} must map names of letters, digits and _ to sentences "
                f"that say what they are, as {{'slope': 'log return of 20 bars'}}; it is {declared!r}"
            )
        return dict(declared)

    def _declared_warmup(self, name: str, params: Mapping[str, Any]) -> int:
        declared = self._declared(name, "WARMUP_BARS", params)
        if not isinstance(declared, int) or isinstance(declared, bool) or not 0 <= declared <= MAX_WARMUP_BARS:
            raise FeatureSetError(
                f"features.{name}: WARMUP_BARS of {self.module} must be a number of bars from 0 to {MAX_WARMUP_BARS}, "
                f"enough for its longest window; it is {declared!r}"
            )
        return declared

    def _declared(self, name: str, constant: str, params: Mapping[str, Any]) -> Any:
        declared = getattr(self._module(name), constant, None)
        if not callable(declared):
            return declared
        try:
            return declared(**params)
        except TypeError as error:
            raise FeatureSetError(f"features.{name}: {constant} of {self.module}: {error}; see params") from error

    def _function(self, name: str) -> Any:
        function = getattr(self._module(name), "compute", None)
        if not callable(function):
            raise FeatureSetError(f"features.{name}: {self.module} has no function compute(candles, **params)")
        return function

    def _module(self, name: str) -> ModuleType:
        try:
            return import_module(self.module)
        except Exception as error:  # a module of one's own raises what it likes
            raise FeatureSetError(
                f"features.{name}: {self.module} cannot be imported: {type(error).__name__}: {error}; put its folder "
                "on PYTHONPATH, or mend it"
            ) from error


def _unique(name: str, described: Sequence[tuple[str, str]]) -> dict[str, str]:
    columns = dict(described)
    if len(columns) < len(described):
        twice = next(column for column, _ in described if [c for c, _ in described].count(column) > 1)
        raise FeatureSetError(f"features.{name}: two columns are called {twice}; rename one, or drop a value twice")
    return columns


NO_SETS: Mapping[str, FeatureSet] = MappingProxyType({})


def named_after(suffix: str, columns: pd.DataFrame) -> pd.DataFrame:
    """Stored columns under the names that a recipe has for them. suffix: a symbol, a series or `rank`; "": its own."""
    return columns.add_suffix(suffix_of(suffix)) if suffix else columns


def warmup_of(sets: Mapping[str, FeatureSet], timeframe: str) -> int:
    """Bars of a timeframe before a row that the features and the columns of these sets depend on."""
    return max([WARMUP_BARS, *(made_by.warmup_bars(name, timeframe) for name, made_by in sets.items())])


def compute_with_sets(
    candles: pd.DataFrame, since: pd.Timestamp, sets: Mapping[str, FeatureSet], timeframe: str
) -> pd.DataFrame:
    """The features of the bars that open at or after `since`, and the columns of these sets beside them.

    Sets of other symbols, too, are computed from these candles, as if they were those of each, and sets of series from
    the closes. Of ranked sets these are the values that would be ranked, as one market is no cross-section.
    """
    values = candles[["close"]].set_axis([VALUE], axis=1)
    columns = [
        named_after(suffix, made_by.compute(name, values if made_by.series else candles, since, timeframe))
        for name, made_by in sets.items()
        for suffix in made_by.suffixes
    ]
    return pd.concat([compute_features(candles, since), *columns], axis=1)
