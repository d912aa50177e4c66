"""What a source says of its bars reaches the stored month: dropped rows, rows that cannot be read, the running bar."""

import os
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from quantum_training.assets.metadata.market_data import candles_metadata
from quantum_training.lifecycle.ingestion import ingest_month, judge_stored_month
from quantum_training.market.periods import Key
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings
from quantum_training.sources import source_from

SEPTEMBER, OCTOBER = (Key("AAA", pd.Timestamp(day, tz="UTC")) for day in ("2019-09-01", "2019-10-01"))
NOW = pd.Timestamp("2026-01-01", tz="UTC")


@pytest.fixture
def market(small, tmp_path, monkeypatch):
    """A CSV file of 4h bars of September and October 2019, whose lines and time a test can change."""
    generated = source_from(small["symbols"]["AAA"]["source"])
    bars = generated.fetch("AAA", "4h", SEPTEMBER.start, pd.Timestamp("2019-11-01", tz="UTC"), NOW)
    store, path = Store(root=str(tmp_path / "store")), tmp_path / "AAA.csv"

    def ingest(lines, key, now=NOW, written=NOW, **options):
        path.write_text("".join(lines))
        os.utime(path, (written.timestamp(), written.timestamp()))
        source = {"kind": "files", "path": str(path), **options}
        changed = {**small, "symbols": {"AAA": {**small["symbols"]["AAA"], "source": source}}}
        (tmp_path / "settings.yaml").write_text(yaml.safe_dump(changed))
        monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
        settings = load_settings()
        month = ingest_month(store, settings, key, now)
        stored = judge_stored_month(store, settings, key) if month.written else []
        return SimpleNamespace(**month._asdict(), errors=month.errors, judged=stored)

    return SimpleNamespace(bars=bars, lines=bars.to_csv().splitlines(keepends=True), store=store, ingest=ingest)


def test_one_bad_row_blocks_its_month_alone(market):
    market.lines.insert(-3, "Prices are delayed\n")
    assert market.ingest(market.lines, SEPTEMBER).written
    october = market.ingest(market.lines, OCTOBER)
    assert not october.written
    assert (
        "stamp 'Prices are delayed' cannot be read. Mend the file, or set source.drop_empty"
        in october.errors[0].message
    )


def test_dropped_rows_are_counted_in_the_metadata_of_their_month_and_kept_when_it_is_completed(market):
    options = {"drop_empty": True, "deduplicate": True}
    market.lines[5:5] = ["Prices are delayed\n", *[market.lines[4]] * 2]
    half = market.ingest(market.lines[:100], SEPTEMBER, **options)
    for month in (half, market.ingest(market.lines, SEPTEMBER, **options), market.ingest(market.lines, SEPTEMBER)):
        metadata = candles_metadata(SEPTEMBER, month, month.written)
        assert (metadata["empty_rows_dropped"], metadata["repeated_rows_dropped"]) == (1, 2)
    october = market.ingest(market.lines, OCTOBER, **options)
    assert "empty_rows_dropped" not in candles_metadata(OCTOBER, october, october.written)


def test_bars_without_notes_are_stored_as_ever(market):
    market.ingest(market.lines, SEPTEMBER)
    attributes = market.store.attributes("candles", "AAA", SEPTEMBER.period)
    assert not [name for name in attributes if name.startswith("source_")]


def test_a_running_bar_is_completed_by_the_next_file(market):
    """The bar of 08:00 is written at 10:20 with other numbers, and read at 12:30."""
    running, at = market.bars.loc[:"2019-09-15 08:00"].copy(), pd.Timestamp("2019-09-15 08:00", tz="UTC")
    running.loc[at, ["high", "low", "close", "volume"]] *= [1.01, 0.99, 1.001, 0.1]
    first = market.ingest(
        [running.to_csv()],
        SEPTEMBER,
        now=pd.Timestamp("2019-09-15 12:30", tz="UTC"),
        written=pd.Timestamp("2019-09-15 10:20", tz="UTC"),
    )
    assert first.covered_until == at
    month = market.ingest(market.lines, SEPTEMBER)
    assert month.errors == []
    pd.testing.assert_frame_equal(month.bars, market.bars.loc["2019-09"], check_freq=False)
