"""`python -m quantum_training.inspect_source SYMBOL` or `--file PATH`: look at a source before a backfill.

It fetches and judges all bars as ingestion would, prints what it sees and a settings entry, and changes nothing. The
work: lifecycle/source_inspection.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import pandas as pd

from quantum_training.lifecycle.source_inspection.guess import guess_market
from quantum_training.lifecycle.source_inspection.inspection import inspect_source
from quantum_training.lifecycle.source_inspection.report import entry_of, lines_of
from quantum_training.settings import load_settings
from quantum_training.sources import SourceError


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 if bars were read, else 1."""
    parser = argparse.ArgumentParser(prog="python -m quantum_training.inspect_source", description=__doc__)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("symbol", nargs="?", metavar="SYMBOL", help="a symbol of the settings")
    target.add_argument("--file", metavar="PATH", help="a file, folder, zip or URL of which nothing is known")
    options = parser.parse_args(arguments)
    settings, now = load_settings(), pd.Timestamp.now("UTC")
    if options.symbol and options.symbol not in settings.symbols:
        parser.error(f"unknown symbol {options.symbol}; symbols are {', '.join(settings.symbols)}")
    try:
        if options.file:
            symbol, market, remarks = guess_market(options.file, now)
            print(*remarks, sep="\n")
            settings = settings.model_copy(update={"symbols": {symbol: market}, "end": None})
        else:
            symbol, market = options.symbol, settings.symbols[options.symbol]
        inspection = inspect_source(settings, symbol, now)
    except SourceError as error:
        print(error)
        return 1
    print(*lines_of(inspection, market), sep="\n")
    if len(inspection.bars):
        print("", *entry_of(symbol, market, inspection.bars.index[0]), sep="\n")
    return 0 if len(inspection.bars) else 1


if __name__ == "__main__":
    sys.exit(main())
