"""Follow the signal of a symbol: print the position to hold whenever it changes.

python follow_signals.py STORE SYMBOL
"""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

GRACE = timedelta(minutes=15)  # the next signal comes some minutes after the bar has closed
POLL_SECONDS = 10


def position(store: str, symbol: str, now: datetime) -> tuple[float, str]:
    """The position to hold now, as a share of the symbol's capital, and why."""
    try:
        signal = json.loads((Path(store) / "signals" / symbol / "latest.json").read_text())
    except FileNotFoundError:
        return 0.0, "flat: there is no signal"
    if signal["valid_until"] is None:
        return 0.0, signal["reason"]
    if now > datetime.fromisoformat(signal["valid_until"]) + GRACE:
        return 0.0, f"flat: the signal held until {signal['valid_until']}, and no newer one has come"
    return signal["position"], signal["reason"]


if __name__ == "__main__":
    held = None
    while True:
        size, reason = position(*sys.argv[1:3], datetime.now(UTC))
        if size != held:
            print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} hold {size:+.4f}: {reason}", flush=True)
            held = size
        time.sleep(POLL_SECONDS)
