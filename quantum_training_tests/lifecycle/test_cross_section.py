"""Ranks within a universe as they are read: against a plain calculation over who was a member at each bar."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from quantum_training.lifecycle import cross_section
from quantum_training.lifecycle.cross_section import months_ranked, ranked_columns
from quantum_training.lifecycle.evaluation.perturbed_store import Perturbation, PerturbedStore
from quantum_training.lifecycle.feature_sets import late_sets, with_sets
from quantum_training.lifecycle.gaps import REFUSED, record_outcome
from quantum_training.lifecycle.ingestion import compute_month_features, ingest_month
from quantum_training.lifecycle.other_markets import symbols_read
from quantum_training.market.notes import Notes
from quantum_training.market.periods import Key
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings

MODULE = "quantum_training_tests.support.feature_modules"
MONTHS = ("2019-09-01", "2019-10-01", "2019-11-01")
MEMBERS = [
    ("AAA", "2019-09-01", ""),
    ("BBB", "2019-09-01", "2019-10-20 12:00"),
    ("CCC", "2019-10-10", ""),
    ("DDD", "2019-09-01", "2019-10-01"),
    ("DDD", "2019-11-15", ""),
]
COLUMN = "strength__value_rank"


def utc(text):
    return pd.Timestamp(text, tz="UTC")


def spells(rows):
    """The rows of a universe as times; who has no end stays."""
    return [(symbol, utc(start), utc(end) if end else utc("2100-01-01")) for symbol, start, end in rows]


@pytest.fixture
def universe(workspace, small, tmp_path):
    """`universe(rows)`: settings in which the symbols of these rows are ranked, with a store."""

    def build(rows=MEMBERS, members=("AAA", "BBB", "CCC", "DDD"), **options):
        path = tmp_path / "members.csv"
        path.write_text("symbol,from,to\n" + "".join(f"{','.join(row)}\n" for row in rows))
        market = small["symbols"]["AAA"]
        small["symbols"] = {
            symbol: {**market, "source": {**market["source"], "seed": seed}} for seed, symbol in enumerate(members)
        }
        small["universes"] = {"top": {"path": str(path), **options}}
        small["features"] = {"strength": {"module": MODULE, "params": {"function": "short"}, "within": "top"}}
        small["recipes"]["xgboost"]["features"] = ["default", "strength"]
        home = workspace(small)
        return home.settings, home.store

    return build


@pytest.fixture
def stored(universe):
    """The settings and the store with MONTHS of all four symbols."""
    settings, store = universe()
    for symbol in settings.symbols:
        bring(store, settings, symbol, MONTHS)
    return settings, store


def bring(store, settings, symbol, months, now="2100-01-01"):
    for month in months:
        key = Key(symbol, utc(month))
        ingest_month(store, settings, key, utc(now))
        compute_month_features(store, settings, key, "strength")


def ranks(store, settings, symbol, first="2019-09-01", last="2019-11-30 20:00"):
    return ranked_columns(store, settings, symbol, "strength", pd.date_range(utc(first), utc(last), freq="4h"))[COLUMN]


def expected(store, symbol, rows=MEMBERS, min_members=2):
    """A long table of the members at each bar, ranked by pandas."""
    values = {s: store.read_frames("features_strength", s, *MONTHS[::2])["strength__value"] for s, *_ in rows}
    parts = []
    for member, start, end in spells(rows):
        own = values[member]
        own = own[(own.index >= start) & (own.index < end)]
        parts.append(pd.DataFrame({"time": own.index, "value": own.to_numpy(), "symbol": member}))
    table = pd.concat(parts).dropna()
    at_bar = table.groupby("time")["value"]
    count = at_bar.transform("size")
    table["rank"] = ((at_bar.rank() - 1) / (count - 1)).where(count >= min_members)
    return table[table["symbol"] == symbol].set_index("time")["rank"].reindex(values[symbol].index)


@pytest.mark.parametrize("symbol", ["AAA", "BBB", "CCC", "DDD"])
def test_the_ranks_are_those_of_a_plain_calculation_over_the_members_at_each_bar(stored, symbol):
    settings, store = stored
    np.testing.assert_array_equal(ranks(store, settings, symbol), expected(store, symbol))


def test_who_is_no_member_has_no_rank_and_who_has_left_still_counts_before(stored):
    settings, store = stored
    of_bbb = ranks(store, settings, "BBB").dropna()
    assert of_bbb.index[-1] == utc("2019-10-20 08:00")
    of_ddd = ranks(store, settings, "DDD").dropna()
    assert not ((of_ddd.index >= utc("2019-10-01")) & (of_ddd.index < utc("2019-11-15"))).any()
    survivors = [row for row in MEMBERS if row[0] != "BBB"]
    before = slice(utc("2019-09-05"), utc("2019-09-30"))
    assert not np.array_equal(expected(store, "AAA", survivors)[before], ranks(store, settings, "AAA")[before])


def test_a_rank_among_todays_members_only_is_caught_by_the_plain_calculation(stored, monkeypatch):
    """Survivorship: the universe as it is at the end, with those who are members then at all bars."""
    settings, store = stored
    today = {spell.symbol for spell in settings.universes["top"].spells if spell.end is None}
    monkeypatch.setattr(
        type(settings.universes["top"]), "is_member", lambda self, symbol, opened: np.full(len(opened), symbol in today)
    )
    assert not ranks(store, settings, "AAA").equals(expected(store, "AAA"))


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    days=st.lists(st.tuples(st.sampled_from("ABCD"), st.integers(0, 80), st.integers(1, 90)), min_size=2, max_size=6),
    min_members=st.integers(2, 3),
)
def test_any_membership_gives_the_ranks_of_the_plain_calculation(stored, tmp_path, days, min_members):
    begin, rows, last = utc("2019-09-01"), [], {}
    for letter, start, length in sorted(days, key=lambda day: day[1]):
        since = begin + pd.Timedelta(days=start)
        if last.get(letter, since) <= since:
            last[letter] = since + pd.Timedelta(days=length)
            rows.append((letter * 3, f"{since:%Y-%m-%d}", f"{last[letter]:%Y-%m-%d}"))
    store = stored[1]
    (tmp_path / "members.csv").write_text("symbol,from,to\n" + "".join(f"{','.join(row)}\n" for row in rows))
    settings = stored[0]
    universe = type(settings.universes["top"])(path=str(tmp_path / "members.csv"), min_members=min_members)
    ranked = settings.features["strength"].model_copy(update={"of": universe.symbols})
    settings = settings.model_copy(update={"universes": {"top": universe}, "features": {"strength": ranked}})
    for symbol in universe.symbols:
        np.testing.assert_array_equal(ranks(store, settings, symbol), expected(store, symbol, rows, min_members))


def test_no_rank_is_made_without_a_member_that_is_late(universe):
    settings, store = universe()
    for symbol in ("AAA", "CCC", "DDD"):
        bring(store, settings, symbol, MONTHS)
    bring(store, settings, "BBB", MONTHS[:1])
    without = ranks(store, settings, "AAA")
    last = without[: utc("2019-10-20")].dropna().index[-1]
    assert last == utc("2019-09-30 20:00")
    assert without[utc("2019-10-20 12:00") :].notna().all(), "BBB is no member any more"
    sets = {"strength": settings.features["strength"]}
    (late,) = late_sets(store, settings, "AAA", sets, "2019-09-01", utc("2019-12-01"))
    assert late.startswith("features_strength of BBB is needed until 2019-12-01 00:00:00+00:00, but of 2019-10-01 it")
    assert not [*late_sets(store, settings, "AAA", sets, "2019-11-01", utc("2019-12-01"))]
    missing = {"strength": settings.features["strength"].model_copy(update={"late": "missing"})}
    assert not [*late_sets(store, settings, "AAA", missing, "2019-09-01", utc("2019-12-01"))]


def test_a_member_is_needed_while_it_is_one(stored):
    settings, store = stored
    until = utc("2019-11-20")
    assert [*months_ranked(store, settings, "top", "DDD", "2019-09-01", until)] == ["2019-09-01", "2019-11-01"]
    of_bbb = months_ranked(store, settings, "top", "BBB", "2019-10-01", until)
    assert of_bbb == {"2019-10-01": utc("2019-10-20 12:00")}
    assert months_ranked(store, settings, "top", "BBB", "2019-11-01", until) == {}
    assert [*months_ranked(store, settings, "top", "CCC", "2019-09-01", until)] == ["2019-10-01", "2019-11-01"]


def test_a_member_whose_month_was_refused_does_not_stop_the_others(stored):
    settings, store = stored
    for asset in ("candles", "features_strength"):
        (Path(store.root) / asset / "BBB" / "2019-10-01.parquet").unlink()
    record_outcome(store, Key("BBB", utc("2019-10-01")), REFUSED, "wrong bars")
    without = [("BBB", "2019-09-01", "2019-10-01"), *(row for row in MEMBERS if row[0] != "BBB")]
    np.testing.assert_array_equal(ranks(store, settings, "AAA"), expected(store, "AAA", without))


def test_a_market_that_is_younger_than_its_membership_does_not_count_before(universe):
    members = ("AAA", "BBB", "CCC")
    settings, store = universe([(symbol, "2019-09-01", "") for symbol in members], members)
    market = settings.symbols["CCC"].model_copy(update={"start": utc("2019-10-15").date()})
    settings = settings.model_copy(update={"symbols": {**settings.symbols, "CCC": market}})
    for symbol in ("AAA", "BBB"):
        bring(store, settings, symbol, MONTHS)
    bring(store, settings, "CCC", MONTHS[1:])
    rows = [("AAA", "2019-09-01", ""), ("BBB", "2019-09-01", ""), ("CCC", "2019-10-15", "")]
    of_aaa = ranks(store, settings, "AAA")
    np.testing.assert_array_equal(of_aaa, expected(store, "AAA", rows))
    assert of_aaa[utc("2019-09-05") :].notna().all()


def test_too_few_members_have_no_rank(universe):
    settings, store = universe(min_members=4)
    for symbol in settings.symbols:
        bring(store, settings, symbol, MONTHS)
    assert ranks(store, settings, "AAA").isna().all(), "there are three at most"


def test_columns_are_those_of_the_recipe_with_and_without_stored_months(universe):
    settings, store = universe()
    columns = settings.recipes["xgboost"].columns
    assert columns[-1] == COLUMN
    opened = pd.date_range(utc("2019-10-01"), periods=5, freq="4h")
    features = pd.DataFrame(index=opened)
    empty = with_sets(store, settings, "AAA", features, settings.feature_sets("AAA"))
    assert empty[COLUMN].isna().all()
    for symbol in settings.symbols:
        bring(store, settings, symbol, MONTHS[:2])
    features = with_sets(store, settings, "AAA", features, settings.feature_sets("AAA"))
    assert features[COLUMN].notna().all()
    assert [*features] == [*empty]


def test_a_rank_changes_with_no_bar_of_any_member_after_it(stored):
    settings, store = stored
    as_of = utc("2019-11-10")
    sets = {"strength": settings.features["strength"]}
    views = [
        PerturbedStore.after(store, settings.symbols, Perturbation(as_of, 60, rising), sets) for rising in (True, False)
    ]
    for symbol in settings.symbols:
        real, one, other = (ranks(view, settings, symbol) for view in (store, *views))
        before = slice(None, as_of - pd.Timedelta("4h"))
        pd.testing.assert_series_equal(one[before], real[before])
        pd.testing.assert_series_equal(other[before], real[before])
    futures = [ranks(view, settings, "AAA")[as_of:] for view in views]
    assert futures[0].notna().any()
    assert not futures[0].equals(ranks(store, settings, "AAA")[as_of:])


def test_an_end_that_is_added_later_leaves_the_ranks_before_it_as_they_were(stored, universe):
    settings, store = stored
    before = ranks(store, settings, "AAA")
    changed, _ = universe([*MEMBERS[:2], ("CCC", "2019-10-10", "2019-11-20"), *MEMBERS[3:]])
    after = ranks(store, changed, "AAA")
    pd.testing.assert_series_equal(after[: utc("2019-11-19 20:00")], before[: utc("2019-11-19 20:00")])
    assert (after[utc("2019-11-20") :] != before[utc("2019-11-20") :]).any()


def test_ranks_are_made_once_for_all_members_until_something_is_written(stored, monkeypatch):
    settings, store = stored
    reads = []
    read_frame = Store.read_frame
    monkeypatch.setattr(Store, "read_frame", lambda self, *place: reads.append(place) or read_frame(self, *place))
    first = ranks(store, settings, "AAA")
    made = len(reads)
    assert made <= 2 * len(settings.symbols) * len(MONTHS)
    for symbol in settings.symbols:
        ranks(store, settings, symbol)
    assert len(reads) == made
    frame = read_frame(store, "features_strength", "BBB", "2019-09-01")
    attributes = store.attributes("features_strength", "BBB", "2019-09-01")
    store.write_frame("features_strength", "BBB", "2019-09-01", -frame, attributes)
    assert not ranks(store, settings, "AAA").equals(first)
    assert len(reads) > made


def test_what_is_too_large_to_be_kept_is_made_again(stored, monkeypatch):
    settings, store = stored
    kept = ranks(store, settings, "AAA")
    monkeypatch.setattr(cross_section, "_PANELS", type(cross_section._PANELS)(1, getsizeof=cross_section._bytes))
    pd.testing.assert_series_equal(ranks(store, settings, "AAA"), kept)


def test_the_symbols_that_are_read_are_all_that_ever_were_members(stored):
    settings, _ = stored
    assert symbols_read(settings, ["AAA"]) == ["AAA", "BBB", "CCC", "DDD"]


def test_days_that_begin_at_different_hours_are_not_ranked(universe, small):
    small["symbols"]["AAA"]["timeframe"] = "1d"
    settings, store = universe(members=("AAA", "BBB", "CCC", "DDD"))
    sets = {"strength": settings.features["strength"]}
    for symbol, begins in (("AAA", "+00:00"), ("CCC", "+08:00")):
        notes = Notes({"day_begins": begins}).attributes
        frame = pd.DataFrame({"close": [1.0]}, [utc("2019-09-01")])
        store.write_frame("candles", symbol, "2019-09-01", frame, {**notes, "covered_until": "2019-10-01T00:00+00:00"})
    first = next(late_sets(store, settings, "AAA", sets, "2019-09-01", utc("2019-09-02")))
    assert first.startswith("days of AAA begin 0 days 00:00:00 after 00:00 UTC, those of CCC 0 days 08:00:00: bars of")


def test_days_that_begin_after_midnight_are_waited_for_by_their_date(universe, small):
    """As they are ranked: that of the 10th of all members, though it is over at 08:00 of the 11th."""
    small["symbols"]["AAA"]["timeframe"] = "1d"
    settings, store = universe([("AAA", "2019-09-01", ""), ("BBB", "2019-09-01", "")], ("AAA", "BBB"))
    attributes = {**Notes({"day_begins": "+08:00"}).attributes, "covered_until": "2019-09-11T00:00+00:00"}
    frame = pd.DataFrame({"close": [1.0]}, [utc("2019-09-10")])
    store.write_frame("candles", "BBB", "2019-09-01", frame, attributes)
    until = utc("2019-09-11")
    assert months_ranked(store, settings, "top", "BBB", "2019-09-01", until) == {"2019-09-01": until}


def test_settings_load_without_a_universe(workspace, small):
    workspace(small)
    assert load_settings().universes == {}
