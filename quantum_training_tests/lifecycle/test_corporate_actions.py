"""A split that a file of corporate actions names restates the stored months, as that of any adjusting source."""

import pandas as pd
import pytest

from quantum_training.lifecycle.ingestion import ingest_month
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.periods import Key
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings
from quantum_training.settings.schema import Symbol
from quantum_training_tests.market.test_resampling import walk

MONTHS = [pd.Timestamp(f"2024-0{month}-01", tz="UTC") for month in (5, 6)]


def test_months_stored_before_a_split_are_multiplied(tmp_path):
    bars = walk(expected_open_times("XNYS", "1d", MONTHS[0], MONTHS[1] + pd.Timedelta(days=20)))
    raw = bars.copy()
    raw.loc[raw.index < "2024-06-10", ["open", "high", "low", "close"]] *= 10
    raw.loc[raw.index < "2024-06-10", "volume"] /= 10
    places = {"path": str(tmp_path / "x.csv"), "corporate_actions": str(tmp_path / "actions.csv")}
    source = {"kind": "files", **places}
    market = Symbol(source=source, timeframe="1d", calendar="XNYS", recipes=("none",), start=MONTHS[0].date())
    settings = load_settings().model_copy(update={"symbols": {"S": market}, "end": None})
    store = Store(root=str(tmp_path / "store"))
    now = pd.Timestamp("2026-01-01", tz="UTC")

    (tmp_path / "actions.csv").write_text("date,split\n2024-06-10,10\n")
    for until in ("2024-06-08", "2024-06-20"):
        raw[raw.index < until].to_csv(tmp_path / "x.csv")
        months = [ingest_month(store, settings, Key("S", month), now) for month in MONTHS]
        assert [month.errors for month in months] == [[], []]
        if until == "2024-06-08":
            assert store.read_frame("candles", "S", "2024-05-01")["close"].iloc[0] == raw["close"].iloc[0]

    assert any(defect.rule == "restated_history" for defect in months[-1].defects)
    stored = pd.concat([store.read_frame("candles", "S", f"{month:%Y-%m-%d}") for month in MONTHS])
    assert stored["close"].tolist() == pytest.approx(bars.loc[:"2024-06-19", "close"].tolist())
    assert stored["volume"].tolist() == pytest.approx(bars.loc[:"2024-06-19", "volume"].tolist())
