#!/usr/bin/env bash
# ccxt 4.5.90, bybit: fetch_ohlcv rounds `since` up to a multiple of the timeframe counted from 1970-01-01, a Thursday.
# Bybit's weeks begin on Monday. So whoever asks for 1w candles from a Monday sends the Thursday after it as `start`, and
# the week that was asked for is not among the answers: a page that continues at the last bar plus one week loses one bar
# each time. Daily and shorter candles are not affected, as their grids agree. Nothing warns.
# Seen: since Monday 2026-11-02 00:00 UTC is sent as Thursday 2026-11-05 00:00 UTC. Fails if the Monday itself is sent.
# The other surprise of weeks in the same version: bitstamp declares 1w and asks the server for steps of 259200 s, three
# days. The answer is labelled 1w.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90
cat > "$folder/weeks.py" <<'PY'
import datetime
import sys
from urllib.parse import parse_qs, urlsplit

import ccxt

sent = {}


class Bybit(ccxt.bybit):
    def fetch(self, url, *rest, **options):  # nothing is sent: only the request is looked at
        sent.update(parse_qs(urlsplit(url).query))
        return {"retCode": 0, "result": {"list": []}}


def day(ms):
    return f"{datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC):%A %Y-%m-%d %H:%M}"


client = Bybit()
market = {"id": "BTCUSDT", "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "type": "spot", "spot": True}
client.set_markets([{**market, "contract": False, "swap": False, "future": False, "option": False}])
monday = client.parse8601("2026-11-02T00:00:00Z")
client.fetch_ohlcv("BTC/USDT", "1w", monday, 10)
start = int(sent["start"][0])
print(f"bybit 1w: asked from {day(monday)}, sent {day(start)}")
week = ccxt.bitstamp().timeframes["1w"]
print(f"bitstamp 1w: a step of {week} s, {int(week) / 86400:g} days")
sys.exit(0 if start > monday and int(week) == 259200 else "changed: a week is a week")
PY
"$folder/venv/bin/python" "$folder/weeks.py"
echo "as found: the week that begins on the Monday asked for is skipped, and bitstamp's week has three days"
