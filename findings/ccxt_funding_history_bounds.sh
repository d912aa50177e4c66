#!/usr/bin/env bash
# ccxt 4.5.90, fetch_funding_rate_history(symbol, since, limit, {"until": ...}) of a linear perpetual contract: of the 53
# exchanges that say they have it, 12 send no `since` to the exchange; 20 send `until` by that name, which is ccxt's own,
# instead of the exchange's end; btse sends neither; and the two of Orderly Network (modetrade, woofipro) ask for a span
# whose start is in milliseconds and whose end is in seconds. Such an exchange answers with its newest rates, whatever was
# asked for, and ccxt drops those before `since`: what is missing looks like a history that begins later.
# No exchange is asked: the client's `fetch` only keeps the request. Fails if one of these lists changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90
cat > "$folder/bounds.py" <<'PY'
import re
import sys

import ccxt

SINCE, UNTIL = 1700000000000, 1700300000000


def asked(name):
    client = getattr(ccxt, name)()
    if client.has.get("fetchFundingRateHistory") is not True:
        return None
    ids = {"baseId": "BTC", "quoteId": "USDT", "settleId": "USDT", "base": "BTC", "quote": "USDT", "settle": "USDT"}
    kind = {"type": "swap", "swap": True, "spot": False, "contract": True, "linear": True, "inverse": False}
    market = {"id": "BTCUSDT", "symbol": "BTC/USDT:USDT", "active": True, "contractSize": 1.0, "info": {}, **ids, **kind}
    client.set_markets([client.safe_market_structure(market)])
    sent = []

    def fetch(url, method="GET", headers=None, body=None):
        sent.append(f"{url} {body or ''}")
        raise ccxt.ExchangeNotAvailable("not asked")

    client.fetch = fetch
    try:
        client.fetch_funding_rate_history("BTC/USDT:USDT", SINCE, 100, {"until": UNTIL})
    except ccxt.ExchangeNotAvailable:
        pass
    return sent[0]


requests = {name: request for name in ccxt.exchanges if (request := asked(name))}
no_since = [n for n, r in requests.items() if not re.search("1700000000|1699999999|2023-11-14", r)]
by_that_name = [n for n, r in requests.items() if re.search(r"[?&]until=", r) and n != "apex"]  # apex sends its own, too
neither = [n for n in no_since if not re.search("1700300000|2023-11-18", requests[n])]
units = [n for n, r in requests.items() if "1700000000000" in r and re.search(r"1700300000(?!0)", r)]
found = {"exchanges": [str(len(requests))], "no since": no_since, "until by that name": by_that_name}
found |= {"neither": neither, "start in ms, end in s": units}
seen = {
    "exchanges": ["53"],
    "no since": "backpack bitget btse deepcoin dydx hashkey hibachi krakenfutures mexc pacifica toobit xt".split(),
    "until by that name": "backpack bequant bitget bullish deepcoin digifinex dydx fmfwio hashkey hibachi hitbtc htx "
    "krakenfutures mexc myokx okx okxus pacifica toobit xt".split(),
    "neither": ["btse"],
    "start in ms, end in s": ["modetrade", "woofipro"],
}
for name, exchanges in found.items():
    print(f"{name}: {' '.join(exchanges)}")
if found != seen:
    sys.exit("another ccxt: the lists differ from those that were seen")
PY
"$folder/venv/bin/python" "$folder/bounds.py"
