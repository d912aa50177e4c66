"""The chain of the ledger: the text behind each hash, and the detection of every change."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from quantum_training.selection.hash_chain import GENESIS, Entry, LedgerError, Row, chain, verify

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
WORD = TEXT.filter(bool)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
ENTRY = st.builds(
    Entry,
    symbol=st.just("AAA"),
    key=WORD,
    kind=WORD,
    effective=st.datetimes(timezones=st.just(UTC)),
    actor=WORD,
    reason=TEXT,
    payload=st.dictionaries(TEXT, JSON, max_size=3),
)
ENTRIES = st.lists(ENTRY, min_size=2, max_size=6)


def entry(**changes):
    fields = {
        "symbol": "AAA",
        "key": "2024-01-08",
        "kind": "promotion",
        "effective": datetime(2024, 1, 8, tzinfo=UTC),
        "actor": "rule",
        "reason": "better",
        "payload": {"margin": 0.1, "bars": 120},
    }
    return Entry(**{**fields, **changes})


def chained(entries):
    rows: list[Row] = []
    for one in entries:
        rows.append(chain(rows[-1] if rows else None, one))
    return rows


def refusal(rows, **options):
    with pytest.raises(LedgerError) as caught:
        verify(rows, **options)
    return str(caught.value)


def test_the_hash_is_sha256_over_this_text():
    text = (
        '{"actor":"rule","effective":"2024-01-08T00:00:00Z","key":"2024-01-08","kind":"promotion",'
        '"payload":{"bars":120,"margin":0.1},'
        f'"previous_hash":"{"0" * 64}","reason":"better","symbol":"AAA"}}'
    )
    row = chain(None, entry())
    assert (row.number, row.previous_hash) == (1, GENESIS)
    assert row.hash == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "same",
    [
        pd.Timestamp("2024-01-08", tz="UTC"),
        pd.Timestamp("2024-01-08 01:00", tz="Europe/Berlin"),
        datetime(2024, 1, 7, 19, tzinfo=timezone(timedelta(hours=-5))),
        "2024-01-08T00:00:00Z",
    ],
)
def test_one_instant_has_one_hash_in_any_representation(same):
    assert chain(None, entry(effective=same)) == chain(None, entry())


@hypothesis_settings(max_examples=50)
@given(ENTRIES)
def test_a_chain_that_went_through_json_verifies(entries):
    rows = [Row.model_validate_json(row.model_dump_json()) for row in chained(entries)]
    verify(rows)
    verify(rows, head=rows[-1].hash)
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))


@hypothesis_settings(max_examples=50)
@given(ENTRIES, ENTRY, st.data())
def test_an_edit_of_any_field_is_detected_at_its_row(entries, other, data):
    rows = chained(entries)
    place = data.draw(st.integers(0, len(rows) - 1))
    changes = {**other.model_dump(), "symbol": "BBB", "number": 99, "previous_hash": "1" * 64, "hash": "2" * 64}
    field = data.draw(st.sampled_from(sorted(changes)))
    before = rows[place]
    rows[place] = before.model_copy(update={field: changes[field]})
    if rows[place].model_dump_json() == before.model_dump_json():
        return verify(rows)
    message = refusal(rows)
    assert f"({rows[place].key}), in place {place + 1}," in message or f"key {rows[place].key} cannot" in message


@hypothesis_settings(max_examples=50)
@given(ENTRIES, st.data())
def test_a_removed_row_is_detected_at_the_next_one(entries, data):
    rows = chained(entries)
    place = data.draw(st.integers(0, len(rows) - 2))
    after = rows[place + 1]
    del rows[place]
    assert f"row {after.number} ({after.key}), in place {place + 1}, does not follow" in refusal(rows)


@hypothesis_settings(max_examples=50)
@given(ENTRIES, st.data())
def test_rows_cut_from_the_end_are_detected_by_the_stored_head(entries, data):
    rows = chained(entries)
    prefix = rows[: data.draw(st.integers(0, len(rows) - 1))]
    verify(prefix)
    assert "rows are missing at its end" in refusal(prefix, head=rows[-1].hash)


@hypothesis_settings(max_examples=50)
@given(ENTRIES, st.data())
def test_two_swapped_rows_are_detected_at_the_first_of_them(entries, data):
    rows = chained(entries)
    first, second = sorted(
        data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=2, max_size=2, unique=True)), key=int
    )
    rows[first], rows[second] = rows[second], rows[first]
    assert f"row {second + 1} ({rows[first].key}), in place {first + 1}, does" in refusal(rows)


@hypothesis_settings(max_examples=50)
@given(ENTRIES, ENTRY, st.data())
def test_an_inserted_row_is_detected_even_with_a_matching_chain(entries, forged, data):
    rows = chained(entries)
    place = data.draw(st.integers(0, len(rows) - 1))
    rows.insert(place, chain(rows[place - 1] if place else None, forged))
    same = rows[place] == rows[place + 1]
    assert f"in place {place + 2}, does not follow from row {place + 1} ({forged.key})" in refusal(rows), same


def test_two_symbols_have_two_chains():
    with pytest.raises(LedgerError, match="BBB: key 2024-01-08 cannot follow a row of AAA"):
        chain(chain(None, entry()), entry(symbol="BBB"))


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": {"sharpe": float("nan")}},
        {"payload": {"deep": [{"sharpe": float("inf")}]}},
        {"payload": {"when": datetime(2024, 1, 1)}},
        {"effective": datetime(2024, 1, 8)},
        {"effective": "0001-01-01T00:00:00+14:00"},
        {"key": ""},
        {"reason": "a\x00b"},
        {"colour": "blue"},
    ],
)
def test_a_value_without_a_unique_text_is_refused(changes):
    with pytest.raises(ValidationError, match=next(iter(changes))):
        entry(**changes)


def test_later_changes_by_the_caller_do_not_reach_the_entry():
    payload = {"bars": [1]}
    made = entry(payload=payload)
    payload["bars"].append(2)
    assert made.payload == {"bars": [1]}
