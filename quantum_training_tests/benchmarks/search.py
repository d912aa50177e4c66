"""A search beside the same study written with Optuna and the package's public functions, and where its time goes.

    python -m quantum_training_tests.benchmarks.search [trials] [processes]

The market is the demo's year of hours without its edge, 8,760 bars. Trials vary parameters of xgboost, the window and
the label, and are scored on the newest 2,000 bars in five folds. All studies have the same samplers, folds and fits and
keep their trials in a SQLite file; fails if a score differs. The plain study computes features, labels and the window
of each fold, as a training does; the better one computes the features once. CPU seconds of the process, by the parts of
a trial, after three trials that load what is needed. With `processes` also the wall seconds of a search that runs so
many trials at a time, which is another search, beside those of one at a time.
"""

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import optuna
import pandas as pd

from quantum_training.features.indicators import compute_features
from quantum_training.features.labels import make_labels
from quantum_training.features.windows import WindowSize, build_window
from quantum_training.lifecycle.market_history import Bars
from quantum_training.lifecycle.search import known_market, objective
from quantum_training.lifecycle.search.known_market import KnownMarket
from quantum_training.lifecycle.search.space import suggest
from quantum_training.lifecycle.search.study import TrialRunner, open_study
from quantum_training.lifecycle.search.trial import sampler
from quantum_training.market.timeframe import known_at
from quantum_training.models.contract import Model, TrainingContext
from quantum_training.models.fitting import fit_model
from quantum_training.settings import Settings
from quantum_training.settings.schema import Recipe
from quantum_training.settings.search import Search
from quantum_training.trading.metrics import sharpe
from quantum_training.trading.scoring import trade
from quantum_training_tests.benchmarks.edge_life import SYMBOL, demo_settings

START, AS_OF = (pd.Timestamp(f"{year}-01-01", tz="UTC") for year in (2018, 2019))
SEED, BARS, FOLDS = 1, 2000, 5
SPACE = {
    "params.max_depth": {"low": 1, "high": 8},
    "params.learning_rate": {"low": 0.01, "high": 0.5, "log": True},
    "params.subsample": {"low": 0.5, "high": 1.0},
    "params.colsample_bytree": {"low": 0.3, "high": 1.0},
    "label.horizon": {"choices": [1, 3, 6, 12]},
}
WINDOWS = ((2000, 6000, 1000), (500, 2000, 500))
FIT, WINDOW, POSITIONS = "fits", "features, labels, windows", "positions, accounts"
PARTS = {
    FIT: ((objective, "fit_seeds"),),
    WINDOW: ((known_market, "build_window"), (known_market, "known_labels")),
    POSITIONS: ((objective, "positions_at"), (objective, "trade")),
}
"""The parts of a trial, and the functions that ours calls for them."""
Values = list[float | None]


class Clock:
    """CPU seconds by the part of a trial."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose calls are a part."""

        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[part] += time.process_time() - began

        return call


class Cost(NamedTuple):
    """What a study took, and the scores of its trials. None: no score."""

    cpu: float
    wall: float
    parts: dict[str, float]
    scores: Values


def market_of(settings: Settings) -> KnownMarket:
    """The demo's market without its edge, as a search sees it."""
    market = settings.symbols[SYMBOL]
    source = market.source.model_copy(update={"seed": SEED, "edge": 0.0, "edge_until": None})
    candles = source.fetch(SYMBOL, market.timeframe, START, AS_OF, AS_OF)
    history: Any = SimpleNamespace(settings=settings, market=market)
    search = Search(space=SPACE, bars=BARS, folds=FOLDS)
    return known_market.known_market(history, (Bars(candles, compute_features(candles, START)),), search)


def recipe_of(settings: Settings, windows: tuple[int, int, int], trials: int, processes: int = 1) -> Recipe:
    """The demo's recipe with a search. windows: smallest and largest window and their step, in bars."""
    (name,) = settings.symbols[SYMBOL].recipes
    space = {**SPACE, "window_bars": dict(zip(("low", "high", "step"), windows, strict=True))}
    search = {"space": space, "trials": trials, "bars": BARS, "folds": FOLDS, "parallel_trials": processes}
    return Recipe.model_validate({**settings.recipes[name].model_dump(mode="json"), "search": search})


def ours(settings: Settings, recipe: Recipe, storage: str, clock: Clock) -> Values:
    """The search of this package."""
    market = market_of(settings)
    before = [(place, name, getattr(place, name)) for places in PARTS.values() for place, name in places]
    for part, places in PARTS.items():
        for place, name in places:
            setattr(place, name, clock.timed(part, getattr(place, name)))
    try:
        with tempfile.TemporaryDirectory() as folder:
            study = open_study(optuna.storages.RDBStorage(storage), "search")
            assert recipe.search is not None
            runner = TrialRunner(market, recipe, recipe.search, study, Path(folder), lambda line: None)
            return [result.score for result in runner.run()]
    finally:
        for place, name, function in before:
            setattr(place, name, function)


def plain(settings: Settings, recipe: Recipe, storage: str, clock: Clock) -> Values:
    """The study that one would write oneself."""
    return _plain(settings, recipe, storage, clock, None)


def features_once(settings: Settings, recipe: Recipe, storage: str, clock: Clock) -> Values:
    """The same with features that are computed before the first trial."""
    candles = market_of(settings).newest.candles
    return _plain(settings, recipe, storage, clock, clock.timed(WINDOW, compute_features)(candles, START))


STUDIES = {ours: "search", plain: "plain", features_once: "plain, features once"}


def _plain(settings: Settings, recipe: Recipe, storage: str, clock: Clock, features: pd.DataFrame | None) -> Values:
    market, search = market_of(settings), recipe.search
    assert search is not None

    def value(trial: optuna.Trial) -> float:
        return _score(market, recipe.with_values(suggest(trial, search.space)), clock, features)

    study = optuna.create_study(storage=storage, direction="maximize")
    for number in range(search.trials):
        study.sampler = sampler(search, number)
        study.optimize(value, n_trials=1, catch=(ValueError,))
    return [result.value if result.state.name == "COMPLETE" else None for result in study.get_trials()]


def _score(market: KnownMarket, recipe: Recipe, clock: Clock, features: pd.DataFrame | None) -> float:
    """The Sharpe ratio per bar of a recipe; NaN, which fails the trial, if it is undefined."""
    candles, rules = market.newest.candles, market.history.market
    positions = np.full(len(market.scored), np.nan)
    for fold in market.folds:
        filled = market.scored[fold.start : fold.stop]
        known = candles.loc[: filled[-1]]
        columns = clock.timed(WINDOW, compute_features)(known, known.index[0]) if features is None else features
        model = _fit(known_at(known, fold.as_of, rules.timeframe), columns, fold.as_of, (market, recipe), clock)
        decided = candles.index[candles.index.searchsorted(filled) - 1]
        positions[fold.start : fold.stop] = clock.timed(POSITIONS, model.positions)(columns.loc[decided])
    trial = {"trial": pd.Series(positions, market.scored)}
    result = clock.timed(POSITIONS, trade)(candles, market.scored[0], trial, rules.costs, rules.account)
    value = sharpe(result.net_return[:, 0], 1.0)[0]
    return np.nan if value is None else value


def _fit(
    past: pd.DataFrame, features: pd.DataFrame, as_of: pd.Timestamp, searched: tuple[KnownMarket, Recipe], clock: Clock
) -> Model:
    market, recipe = searched
    rules = market.history.market
    costs = rules.costs.round_trip(past["close"].to_numpy(), rules.account.capital)
    size = WindowSize(recipe.window_bars, market.history.settings.min_training_data_points, recipe.validation_fraction)
    labels = clock.timed(WINDOW, make_labels)(past, recipe.label, costs)
    window = clock.timed(WINDOW, build_window)(
        features.loc[past.index], labels, as_of=as_of, columns=recipe.columns, size=size
    )
    context = TrainingContext(window, recipe.params, recipe.sizing, recipe.seed)
    model: Model = clock.timed(FIT, fit_model)(recipe.algorithm, context)
    return model


def cost(study: Callable[[Settings, Recipe, str, Clock], Values], settings: Settings, recipe: Recipe) -> Cost:
    """What a study took."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        cpu, wall = time.process_time(), time.perf_counter()
        values = study(settings, recipe, f"sqlite:///{folder}/trials.db", clock)
        return Cost(time.process_time() - cpu, time.perf_counter() - wall, dict(clock.seconds), values)


def print_table(settings: Settings, windows: tuple[int, int, int], trials: int) -> None:
    """A line for each study over windows of this range."""
    recipe, costs = recipe_of(settings, windows, trials), list[Cost]()
    for study, name in STUDIES.items():
        taken = cost(study, settings, recipe)
        costs.append(taken)
        assert taken.scores == costs[0].scores, f"{name}: other scores"
        shares = [taken.parts[part] / taken.cpu for part in PARTS]
        shown = " | ".join(f"{share:.1%}" for share in (*shares, 1 - sum(shares)))
        best = max((score for score in taken.scores if score is not None), default=None)
        ratio = taken.cpu / costs[0].cpu
        print(
            f"| {windows[0]:,} to {windows[1]:,} | {name} | {best} | {taken.cpu:.1f} | {ratio:.2f} | {shown} |",
            flush=True,
        )


def print_processes(settings: Settings, trials: int, processes: int) -> None:
    """Wall seconds of searches by the number of trials at a time."""
    print("\n| trials at a time | wall seconds | times as fast |\n| ---: | ---: | ---: |")
    recipes = {number: recipe_of(settings, WINDOWS[0], trials, number) for number in (1, processes)}
    walls = {number: cost(ours, settings, recipe).wall for number, recipe in recipes.items()}
    for number, wall in walls.items():
        print(f"| {number} | {wall:.1f} | {walls[1] / wall:.2f} |", flush=True)


def main(trials: int, processes: int | None) -> None:
    """All studies."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    settings = demo_settings()
    for study in STUDIES:
        study(settings, recipe_of(settings, WINDOWS[0], 3), "sqlite://", Clock())
    print(f"{trials} trials, {len(market_of(settings).newest.candles):,} bars\n")
    print(f"| windows | study | best score | CPU s | ratio | {' | '.join(PARTS)} | Optuna and the rest |")
    print(f"| --- | --- | ---: | ---: | ---: |{' ---: |' * (len(PARTS) + 1)}")
    for windows in WINDOWS:
        print_table(settings, windows, trials)
    if processes:
        print_processes(settings, trials, processes)


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    main(given[0] if given else 200, given[1] if len(given) > 1 else None)
