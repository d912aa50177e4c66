"""The funding rates of a perpetual contract on a loopback Binance and OKX: each answers and pages by its own rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from quantum_training_tests.support.venue import Venue

PERPETUAL = {
    "symbol": "BTCUSDT",
    "pair": "BTCUSDT",
    "contractType": "PERPETUAL",
    "deliveryDate": 4133404800000,
    "onboardDate": 1569398400000,
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "marginAsset": "USDT",
    "pricePrecision": 2,
    "quantityPrecision": 3,
    "baseAssetPrecision": 8,
    "quotePrecision": 8,
    "underlyingType": "COIN",
    "filters": [],
}
SWAP = {
    "instType": "SWAP",
    "instId": "BTC-USDT-SWAP",
    "uly": "BTC-USDT",
    "settleCcy": "USDT",
    "ctVal": "0.01",
    "ctMult": "1",
    "ctValCcy": "BTC",
    "ctType": "linear",
    "state": "live",
    "tickSz": "0.1",
    "lotSz": "1",
    "minSz": "1",
    "listTime": "1569398400000",
}


def funding_rates(first: str, days: int, hours: int = 8) -> dict[int, float]:
    """Rates by their stamp in Unix ms, some of them milliseconds late."""
    times = pd.date_range(first, periods=days * 24 // hours, freq=f"{hours}h", tz="UTC").as_unit("ms").asi8
    rng = np.random.default_rng(0)
    late = rng.choice([0, 0, 3, 11], len(times))
    return dict(zip((times + late).tolist(), np.round(rng.normal(1e-4, 5e-5, len(times)), 8).tolist(), strict=True))


class BinanceFutures(Venue):
    """Oldest first, at most 1000 from startTime to endTime, both inclusive; if not `bounded`, all that it has."""

    def __init__(self, rates: dict[int, float]) -> None:
        super().__init__()
        self.rates, self.bounded = rates, True

    def answer(self, path: str, query: dict[str, str]) -> Any:
        if path == "/fapi/v1/exchangeInfo":
            return {"timezone": "UTC", "serverTime": 0, "rateLimits": [], "symbols": [PERPETUAL]}
        if path != "/fapi/v1/fundingRate":
            return None
        first, last = int(query.get("startTime", 0)), int(query.get("endTime", 4e12))
        found = [stamp for stamp in self.rates if first <= stamp <= last][: min(int(query.get("limit", 100)), 1000)]
        found = found if self.bounded else [*self.rates]
        return [{"symbol": "BTCUSDT", "fundingTime": at, "fundingRate": f"{self.rates[at]:.8f}"} for at in found]


class Okx(Venue):
    """The newest 100 after `before`, newest first; an end is not asked for by ccxt."""

    def __init__(self, rates: dict[int, float]) -> None:
        super().__init__()
        self.rates = rates

    def answer(self, path: str, query: dict[str, str]) -> Any:
        if path == "/api/v5/public/instruments":
            return {"code": "0", "msg": "", "data": [SWAP] if query["instType"] == "SWAP" else []}
        if path != "/api/v5/public/funding-rate-history":
            return None
        found = [stamp for stamp in self.rates if stamp > int(query.get("before", 0))][::-1][:100]
        rows = [{"instId": SWAP["instId"], "fundingTime": str(at), "realizedRate": str(self.rates[at])} for at in found]
        return {"code": "0", "msg": "", "data": rows}
