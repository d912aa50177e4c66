"""Texts that SQLite takes and Postgres refuses: what is stored is bounded and readable, and says that it was cut."""

import random
import string

import pytest
from dagster._core.storage.dagster_run import DagsterRun, RunsFilter
from dagster._core.utils import make_new_run_id
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.resources.ledger import Ledger
from quantum_training.resources.texts import DAGSTER_TAG, bounded, bounded_tags, storable
from quantum_training.selection.hash_chain import Entry

LETTERS = string.ascii_letters + string.digits + "äß語\U0001f600"


def long_text(length):
    """A text that Postgres cannot compress."""
    return "".join(random.Random(7).choices(LETTERS, k=length))


@given(st.text(st.characters(exclude_categories=())), st.integers(40, 300))
def test_a_bounded_text_is_utf8_of_at_most_that_length_and_a_short_one_is_whole(text, limit):
    result = bounded(text, limit)
    assert len(result.encode()) <= limit
    assert "\x00" not in result
    if len(storable(text).encode()) <= limit:
        assert result == storable(text)
    assert bounded(result, limit) == result


def test_a_cut_text_says_how_long_it_was_and_others_stay():
    assert bounded("x" * 100, 40) == "x" * 19 + " ... (100 characters)"
    assert bounded("a\x00b\ud800", 40) == "a\\x00b\\ud800"
    assert bounded_tags({"reason": "y" * 9_000, "symbol": "AAA"})["symbol"] == "AAA"


def test_the_ledger_keeps_a_long_reason_whole(url):
    ledger, reason = Ledger(url=url), storable(long_text(50_000) + "\x00")
    entry = Entry(symbol="AAA", key="1", kind="pin", effective="2024-01-08T00:00:00Z", actor="ann", reason=reason)
    ledger.append([entry])
    assert ledger.rows("AAA")[0].reason == reason
    ledger.verify("AAA")


@pytest.mark.long
def test_dagster_on_postgres_takes_a_bounded_tag_and_refuses_the_long_one(postgres_url):
    """Dagster keeps key and value of a tag in one index; the limit of Postgres is 2,704 bytes."""
    from dagster_postgres.run_storage import PostgresRunStorage
    from sqlalchemy.exc import OperationalError

    storage = PostgresRunStorage.create_clean_storage(postgres_url)

    def add(reason):
        run = DagsterRun(job_name="retrain", run_id=make_new_run_id(), tags={"reason": reason})
        storage.add_run(run)
        return storage.get_runs(RunsFilter(run_ids=[run.run_id]))[0].tags["reason"]

    for text in (long_text(9_000), "語" * 9_000, "a\x00b"):
        assert add(bounded(text, DAGSTER_TAG)) == bounded(text, DAGSTER_TAG)
    with pytest.raises(OperationalError, match="index row"):
        add(long_text(9_000))
