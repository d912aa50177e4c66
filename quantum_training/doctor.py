"""`python -m quantum_training.doctor`: do store, ledger, registry and settings belong together? It changes nothing.

It prints what is wrong and what to do, and exits with 1 if anything is. The comparisons: lifecycle/consistency.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from quantum_training.lifecycle.consistency.comparisons import compare
from quantum_training.lifecycle.services import Services
from quantum_training.resources.ledger import Ledger
from quantum_training.settings import load_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 if everything agrees, else 1."""
    parser = argparse.ArgumentParser(prog="python -m quantum_training.doctor", description=__doc__)
    parser.add_argument("--symbols", nargs="+", metavar="SYMBOL", help="symbols of the settings; all if left out")
    settings = load_settings()
    symbols = parser.parse_args(arguments).symbols or [*settings.symbols]
    if unknown := sorted({*symbols} - {*settings.symbols}):
        parser.error(f"unknown symbols {', '.join(unknown)}; symbols are {', '.join(settings.symbols)}")
    comparisons = compare(Services.of(settings), Ledger(settings.database_url, read_only=True), symbols)
    for inconsistency in (i for inconsistencies in comparisons.values() for i in inconsistencies):
        print(inconsistency)
    inconsistent = [symbol for symbol, inconsistencies in comparisons.items() if inconsistencies]
    agree = "store, ledger, registry and settings belong together"
    print(
        f"{len(inconsistent)} of {len(symbols)} symbols need attention"
        if inconsistent
        else f"{len(symbols)} symbols: {agree}"
    )
    return 1 if inconsistent else 0


if __name__ == "__main__":
    sys.exit(main())
