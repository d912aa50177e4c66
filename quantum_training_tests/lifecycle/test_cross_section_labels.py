"""Labels that compare with the members of a universe, against a plain loop over stored candles."""

import numpy as np
import pandas as pd
import pytest

from quantum_training.features.labels import ForwardReturn, make_labels
from quantum_training.lifecycle.cross_section_labels import cross_section_labels, late_members
from quantum_training.lifecycle.evaluation.perturbed_store import Perturbation, PerturbedStore
from quantum_training.lifecycle.gaps import REFUSED, record_outcome
from quantum_training.lifecycle.ingestion import compute_month_features, ingest_month
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.other_markets import symbols_read, symbols_read_by
from quantum_training.lifecycle.surveillance.scheduled_trainings import RunState, ScheduledTraining, next_training
from quantum_training.lifecycle.training.training_window import known_labels
from quantum_training.market.notes import Notes
from quantum_training.market.periods import Key
from quantum_training.resources.store.store import StoreError
from quantum_training.settings.paths import SettingsError
from quantum_training.settings.schema import Recipe
from quantum_training.settings.universes import check_reader
from quantum_training_tests.lifecycle.test_cross_section import MEMBERS, MONTHS, spells, utc

HORIZON = 6
ROWS = [*MEMBERS[:3], ("DDD", "2019-09-01", "2019-10-16")]
"""The data of DDD end with its membership."""


@pytest.fixture
def build(workspace, small, tmp_path):
    """`build(**months)`: settings with the label, and a store with these months of candles, MONTHS by default."""

    def build(within="top", rows=ROWS, **months):
        (tmp_path / "members.csv").write_text("symbol,from,to\n" + "".join(f"{','.join(row)}\n" for row in rows))
        market = small["symbols"]["AAA"]
        small["symbols"] = {
            symbol: {**market, "source": {**market["source"], "seed": seed}}
            for seed, symbol in enumerate(("AAA", "BBB", "CCC", "DDD"))
        }
        small["symbols"]["DDD"]["end"] = "2019-10-15"
        small["universes"] = {"top": {"path": str(tmp_path / "members.csv")}}
        small["recipes"]["xgboost"]["label"] = {"kind": "cross_section", "within": within, "horizon": HORIZON}
        home = workspace(small)
        for symbol in home.settings.symbols:
            for month in months.get(symbol, MONTHS[:2] if symbol == "DDD" else MONTHS):
                ingest_month(home.store, home.settings, Key(symbol, utc(month)), utc("2100-01-01"))
        return home.settings, home.store

    return build


def made(store, settings, symbol, opened=None):
    label = settings.recipes["xgboost"].label
    opened = store.read_frames("candles", symbol, *MONTHS[::2]).index if opened is None else opened
    return cross_section_labels(store, settings, symbol, label, opened)


def by_hand(store, symbol, rows=ROWS):
    """A loop over bars: who is a member then, and what each made from the next open to the open HORIZON bars later."""
    opens = pd.DataFrame({s: store.read_frames("candles", s, *MONTHS[::2])["open"] for s, *_ in rows})
    filled, members = opens.ffill(), spells(rows)
    labels = pd.Series(np.nan, opens.index)
    for place, bar in enumerate(opens.index[: -HORIZON - 1]):
        there = {m for m, start, end in members if start <= bar < end}
        gains = (filled.iloc[place + 1 + HORIZON] / opens.iloc[place + 1] - 1)[[*there]].dropna()
        if symbol in gains and len(gains) >= 2:
            worse, better = (gains < gains[symbol]).sum(), (gains > gains[symbol]).sum()
            labels[bar] = np.nan if worse == better else float(worse > better)
    return labels


@pytest.mark.parametrize("symbol", ["AAA", "BBB", "CCC", "DDD"])
def test_the_labels_are_those_of_a_plain_loop_over_the_members_at_each_bar(build, symbol):
    settings, store = build()
    labels = made(store, settings, symbol)["label"]
    own = labels[: -HORIZON - 1]  # who learns knows no label whose exit lies after its own bars
    np.testing.assert_array_equal(own, by_hand(store, symbol).reindex(own.index))
    assert labels[-HORIZON - 1 :].isna().all()
    assert {*labels.dropna()} == {0.0, 1.0}


def test_a_label_is_known_when_its_exit_bar_opens_as_all_labels_are(build):
    settings, store = build()
    candles = store.read_frames("candles", "AAA", *MONTHS[::2])
    plain = make_labels(candles, ForwardReturn(kind="forward_return", horizon=HORIZON), 0.0)
    labels = made(store, settings, "AAA")
    pd.testing.assert_series_equal(labels["label_end"], plain["label_end"], check_freq=False)
    assert labels["label"].dtype == plain["label"].dtype


def test_who_left_with_its_last_bar_counts_up_to_it(build):
    """Its exit is its last open: that it left does not take it out of the cross-sections before."""
    settings, store = build()
    last = store.read_frames("candles", "DDD", *MONTHS[:2]).index[-1]
    assert last == utc("2019-10-15 20:00")
    labels = made(store, settings, "DDD")
    assert labels["label"][: last - pd.Timedelta("28h")].notna().any()
    without = by_hand(store, "AAA", ROWS[:3])
    before = slice(last - pd.Timedelta("24h"), last - pd.Timedelta("8h"))
    assert not without[before].equals(made(store, settings, "AAA")["label"][before])


def test_labels_as_of_a_time_are_those_of_a_store_that_ends_then(build):
    settings, store = build()
    opened = store.read_frames("candles", "AAA", *MONTHS[::2]).index
    whole, early = made(store, settings, "AAA"), made(store, settings, "AAA", opened[:300])
    known = whole["label_end"] <= opened[299]
    pd.testing.assert_frame_equal(early[known.to_numpy()[:300]], whole[known], check_freq=False)
    assert early["label"][~known.to_numpy()[:300]].isna().all()


def test_no_label_that_is_known_changes_with_later_bars_of_any_member(build):
    settings, store = build()
    as_of = utc("2019-11-10")
    markets = {symbol: market for symbol, market in settings.symbols.items() if symbol != "DDD"}
    views = [PerturbedStore.after(store, markets, Perturbation(as_of, 60, rising)) for rising in (True, False)]
    opened = store.read_frames("candles", "AAA", *MONTHS[::2])[: as_of - pd.Timedelta("4h")].index
    real, one, other = (made(view, settings, "AAA", opened) for view in (store, *views))
    pd.testing.assert_frame_equal(one, real)
    pd.testing.assert_frame_equal(other, real)
    later = [made(view, settings, "AAA", opened.union(pd.date_range(as_of, periods=20, freq="4h"))) for view in views]
    assert not later[0]["label"][opened[-3] :].equals(later[1]["label"][opened[-3] :])


def test_no_label_spans_a_gap(build):
    settings, store = build()
    history, label = MarketHistory(store, settings, "AAA"), settings.recipes["xgboost"].label
    candles = store.read_frames("candles", "AAA", *MONTHS[::2])
    stretches = [(candles[:"2019-09-20"], None), (candles["2019-10-05":], None), (candles[:0], None)]
    labels = known_labels(history, stretches, label)
    assert len(labels) == len(candles[:"2019-09-20"]) + len(candles["2019-10-05":])
    assert labels["label"][: utc("2019-09-20 20:00")][-HORIZON - 1 :].isna().all()
    assert labels["label_end"][: utc("2019-09-20 20:00")].max() == utc("2019-09-20 20:00")
    none = known_labels(history, stretches[-1:], label)
    assert none.empty
    assert (none.dtypes == labels.dtypes).all()


def test_a_late_member_stops_the_labels_and_a_refused_month_only_its_own(build):
    settings, store = build(BBB=MONTHS[:1])
    with pytest.raises(StoreError, match=r"AAA: labels within top need the candles of BBB until 2019-12-01 .*2019-10"):
        made(store, settings, "AAA")
    assert made(store, settings, "AAA", store.read_frame("candles", "AAA", MONTHS[0]).index)["label"].notna().any()
    assert len([*late_members(store, settings, "top", MONTHS[0], utc("2019-12-01"))]) == 2
    assert not [*late_members(store, settings, "top", MONTHS[2], utc("2019-12-01"))], "it has left before"
    for month in MONTHS[2:]:
        ingest_month(store, settings, Key("BBB", utc(month)), utc("2100-01-01"))
    record_outcome(store, Key("BBB", utc(MONTHS[1])), REFUSED, "wrong bars")
    labels = made(store, settings, "AAA")["label"]
    gone = [("BBB", "2019-09-01", "2019-09-29 20:00"), *(row for row in ROWS if row[0] != "BBB")]
    np.testing.assert_array_equal(labels, by_hand(store, "AAA", gone))


def test_a_late_member_stops_the_labels_of_days_that_begin_after_midnight(build, small):
    """Such a day is stored by its date and over hours after it."""
    small["symbols"]["AAA"]["timeframe"] = "1d"
    rows = [*((symbol, "2019-09-01", "") for symbol in ("AAA", "BBB", "CCC")), ("DDD", "2019-10-01", "2019-10-16")]
    settings, store = build(rows=rows, AAA=(), BBB=(), CCC=(), DDD=())
    opened = pd.date_range(utc("2019-09-01"), periods=29, freq="D")
    rng, notes = np.random.default_rng(0), Notes({"day_begins": "+08:00"}).attributes

    def keep(symbol, days):
        candles = pd.DataFrame({"open": 100 + rng.normal(size=days)}, opened[:days])
        covered = {"covered_until": (opened[days - 1] + pd.Timedelta("1D")).isoformat()}
        store.write_frame("candles", symbol, MONTHS[0], candles, {**notes, **covered})

    for symbol, days in (("AAA", 29), ("BBB", 29), ("CCC", 28)):
        keep(symbol, days)
    with pytest.raises(StoreError, match=r"need the candles of CCC until 2019-09-30 00:00"):
        made(store, settings, "AAA", opened)
    keep("CCC", 29)
    assert made(store, settings, "AAA", opened)["label"][: -HORIZON - 1].notna().any()


def test_the_schedule_waits_for_the_members(build):
    settings, store = build(BBB=MONTHS[:1])
    for month in MONTHS:
        compute_month_features(store, settings, Key("AAA", utc(month)))
    runs = RunState((), (), utc("2019-10-14 03:00"))
    waiting = next_training(store, settings, [ScheduledTraining("AAA", utc("2019-10-14"))], runs)
    assert "waits: labels within top need the candles of BBB until 2019-10-14" in waiting.waits
    ingest_month(store, settings, Key("BBB", utc(MONTHS[1])), utc("2100-01-01"))
    assert next_training(store, settings, [ScheduledTraining("AAA", utc("2019-10-14"))], runs).training


def test_they_are_made_once_for_all_symbols(build, monkeypatch):
    settings, store = build()
    made(store, settings, "AAA")
    monkeypatch.setattr(type(store), "read_with_attributes", lambda *place: pytest.fail("read again"))
    opened = pd.date_range(utc(MONTHS[0]), utc("2019-11-30 20:00"), freq="4h")
    assert made(store, settings, "CCC", opened)["label"].notna().any()


LABELS = [
    {"kind": "forward_return", "horizon": HORIZON},
    {"kind": "cross_section", "within": "best", "horizon": HORIZON},
]


@pytest.mark.parametrize("space", [{"label": {"choices": LABELS}}, {"label.within": {"choices": ["top", "best"]}}])
def test_a_label_that_a_search_may_choose_is_checked_and_its_members_are_read(build, space):
    settings, _ = build(AAA=(), BBB=(), CCC=(), DDD=())
    fields = settings.recipes["xgboost"].model_dump(mode="json")
    fields["label"] = {**fields["label"], "within": "top"} if "label.within" in space else LABELS[0]
    recipe = Recipe.model_validate({**fields, "search": {"space": space, "trials": 2}})
    assert recipe.label_universes == (("top", "best") if "label.within" in space else ("best",))
    universes = {"top": settings.universes["top"]}
    with pytest.raises(ValueError, match=r"recipes.xgboost.label.within: unknown best; allowed: top"):
        check_reader("AAA", {"xgboost": recipe}, universes)
    universes["best"] = universes["top"]
    check_reader("AAA", {"xgboost": recipe}, universes)
    searched = settings.model_copy(update={"recipes": {"xgboost": recipe}, "universes": universes})
    assert symbols_read_by(searched, recipe) == ["AAA", "BBB", "CCC", "DDD"]


def test_its_settings_are_checked(build, small):
    settings, _ = build()
    assert settings.recipes["xgboost"].label_universe == "top"
    assert symbols_read(settings, ["AAA"]) == ["AAA", "BBB", "CCC", "DDD"]
    with pytest.raises(SettingsError, match=r"recipes.xgboost.label.within: unknown best; allowed: top"):
        build(within="best")
    with pytest.raises(SettingsError, match=r"symbols.BBB.recipes: xgboost learns from recipes.xgboost.label, but BBB"):
        build(rows=[ROWS[0], *ROWS[2:]])
