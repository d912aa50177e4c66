"""`python -m quantum_training.check_settings`: are the settings right? It reads the sources and stores nothing.

It fetches the newest bars of each symbol, looks for look-ahead in each feature set, calls each metric, fits each
recipe once on a small market of random numbers, and looks up the search that a recipe was found by. It exits with 1 if
anything is wrong. To see all bars of one source: `python -m quantum_training.inspect_source SYMBOL`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd

from quantum_training.lifecycle.evaluation.leakage import synthetic_timeframe
from quantum_training.lifecycle.settings_check import (
    examine_set,
    fit_small,
    found_by,
    members_now,
    newest_bars,
    newest_values,
    try_metric,
)
from quantum_training.resources.store.store import Store
from quantum_training.settings import config_path, load_settings
from quantum_training.settings.paths import SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 if all is right, else 1."""
    argparse.ArgumentParser(prog="python -m quantum_training.check_settings", description=__doc__).parse_args(arguments)
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error)
        return 1
    now = pd.Timestamp.now("UTC")
    used = dict.fromkeys(recipe for symbol in settings.symbols.values() for recipe in symbol.recipes)
    checks: dict[str, Callable[[], str]] = {
        f"symbols.{name}": partial(newest_bars, name, symbol, now) for name, symbol in settings.symbols.items()
    }
    timeframes = {recipe: synthetic_timeframe(settings, recipe) for recipe in used}
    examined = dict.fromkeys(settings.features, next(iter(settings.symbols.values())).timeframe)
    examined |= {name: timeframes[recipe] for recipe in used for name in settings.recipes[recipe].feature_sets}
    examined |= {name: settings.symbols[s.of[0]].timeframe for name, s in settings.features.items() if s.of}
    checks |= {f"series.{name}": partial(newest_values, name, series, now) for name, series in settings.series.items()}
    checks |= {f"universes.{name}": partial(members_now, u, now) for name, u in settings.universes.items()}
    checks |= {f"features.{name}": partial(examine_set, name, settings.features, tf) for name, tf in examined.items()}
    checks |= {f"metrics.{name}": partial(try_metric, path) for name, path in settings.metrics.items()}
    checks |= {f"recipes.{name}": partial(fit_small, settings.recipes[name], timeframes[name]) for name in used}
    store = Store(root=settings.store_root)
    searched = [name for name in used if settings.recipes[name].found_by]
    checks |= {f"recipes.{name}.found_by": partial(found_by, store, settings, name) for name in searched}
    wrong = [place for place, check in checks.items() if not _passes(place, check)]
    unused = [name for name in settings.recipes if name not in used]
    if unused:
        print(f"recipes that no symbol has: {', '.join(unused)}")
    print(f"{config_path()}: " + (f"{len(wrong)} of {len(checks)} need attention" if wrong else "all is right"))
    return 1 if wrong else 0


def _passes(place: str, check: Callable[[], str]) -> bool:
    try:
        print(f"{place}: {check()}", flush=True)
    except Exception as error:  # an algorithm of one's own raises what it likes
        print(f"{place}: WRONG: {error or type(error).__name__}", flush=True)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
