"""Progress of a run on the console: one line for each symbol and asset, while the log goes to Dagster alone."""

import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import groupby

from quantum_training.market.periods import Key

_shown: ContextVar[bool] = ContextVar("progress_shown", default=False)


@contextmanager
def progress_shown(shown: bool) -> Iterator[None]:
    """Whether the runs in this block print their progress."""
    token = _shown.set(shown)
    try:
        yield
    finally:
        _shown.reset(token)


@contextmanager
def step_shown(name: str) -> Iterator[None]:
    """Print the name and the duration of a step that has no partitions, once it is done."""
    begun = time.monotonic()
    yield
    if _shown.get():
        _print_line(name, begun)


def with_progress(asset: str, keys: Sequence[Key], without_line: Collection[str] = ()) -> Iterator[Key]:
    """The keys, with a bar and the time left on a terminal, and else a line once a symbol is done.

    without_line: symbols that are not shown.
    """
    for symbol, group in groupby(keys, lambda key: key.symbol):
        of_symbol, label = [*group], f"{symbol:12} {asset:22}"
        if not _shown.get() or symbol in without_line:
            yield from of_symbol
        elif sys.stdout.isatty():
            from tqdm import tqdm

            yield from tqdm(of_symbol, label, file=sys.stdout, unit="partition", dynamic_ncols=True)
        else:
            begun = time.monotonic()
            yield from of_symbol
            _print_line(f"{label} {len(of_symbol)}/{len(of_symbol)}", begun)


def _print_line(text: str, begun: float) -> None:
    print(f"{text} in {time.monotonic() - begun:.0f} s", flush=True)
