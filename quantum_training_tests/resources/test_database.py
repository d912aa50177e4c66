"""The database on real SQLite and Postgres: made once, all or nothing, and clear when it is out."""

import multiprocessing
import time

import pytest
import sqlalchemy as sa

from quantum_training.resources import database
from quantum_training.resources.database import DatabaseError, acknowledged, dead_letters, transaction
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.ledger import Ledger
from quantum_training.selection.hash_chain import Entry
from quantum_training.settings import load_settings
from quantum_training.settings.paths import SettingsError, without_password

LOGIN = "ann:hush@sh:1/"
FORK = multiprocessing.get_context("fork")


def letter(number):
    return {"letter_id": str(number), "reason": "r", "raw": "x"}


def count(url, table=dead_letters):
    return transaction(url, lambda c: c.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def together(target, arguments):
    """Run a function once per tuple of arguments, each in a process of its own, all let loose at once."""
    gate = FORK.Barrier(len(arguments))

    def work(arguments):
        gate.wait()
        target(*arguments)

    processes = [FORK.Process(target=work, args=(a,)) for a in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def insert(url, number):
    transaction(url, lambda c: c.execute(dead_letters.insert().values(letter(number))))


def test_processes_that_meet_an_empty_database_make_the_tables_once(url):
    assert together(insert, [(url, n) for n in range(4)]) == [0] * 4
    assert count(url) == 4


def test_a_transaction_that_raises_leaves_nothing(url):
    def half(connection):
        connection.execute(dead_letters.insert().values(letter(1)))
        raise KeyError("in the middle")

    with pytest.raises(KeyError):
        transaction(url, half)
    assert count(url) == 0


def test_work_runs_again_if_another_process_wrote_the_same_key_first(url):
    row_counts = []

    def work(connection):
        there = connection.execute(sa.select(sa.func.count()).select_from(dead_letters)).scalar_one()
        row_counts.append(there)
        if len(row_counts) == 1:  # as one that read before the other committed
            connection.execute(dead_letters.insert(), [letter(1), letter(1)])
        connection.execute(dead_letters.insert().values(letter(1)))

    transaction(url, work)
    assert row_counts == [0, 0]
    assert count(url) == 1


def test_a_permanent_conflict_is_not_reported_as_an_outage(url, monkeypatch):
    monkeypatch.setattr(database, "MAX_CONFLICTS", 2)
    insert(url, 1)
    with pytest.raises(DatabaseError, match=r"letter_id.*\. See which other processes write these rows"):
        insert(url, 1)


def test_missing_permissions_on_postgres_are_reported_as_such(postgres_url):
    insert(postgres_url, 1)

    def as_nobody(connection):
        connection.exec_driver_sql("CREATE ROLE nobody_here")
        connection.exec_driver_sql("SET LOCAL ROLE nobody_here")
        connection.execute(sa.select(dead_letters))

    with pytest.raises(DatabaseError, match=r"permission denied for table dead_letters.* Let this user read and write"):
        transaction(postgres_url, as_nobody)


def test_sqlite_writes_ahead_and_waits_for_the_disk(tmp_path):
    pragmas = transaction(
        f"sqlite:///{tmp_path}/a.db",
        lambda c: [c.exec_driver_sql(f"PRAGMA {p}").scalar() for p in ("journal_mode", "synchronous", "busy_timeout")],
    )
    assert pragmas == ["wal", 2, 10_000]


def test_a_locked_sqlite_file_is_awaited_and_then_named(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "SQLITE_BUSY_SECONDS", 0.05)
    monkeypatch.setattr(database, "GIVE_UP_SECONDS", 0.3)
    url = f"sqlite:///{tmp_path}/a.db"
    insert(url, 1)
    other = sa.create_engine(url)
    with other.connect() as holder:
        holder.exec_driver_sql("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseError, match=r"a\.db: database is locked.*run this again"):
            insert(url, 2)
    insert(url, 3)
    assert count(url) == 2


def test_without_a_url_it_is_a_file_under_dagster_home(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    insert("", 1)
    assert (tmp_path / "home" / "quantum_training.db").is_file()


def test_a_connection_that_postgres_dropped_is_opened_anew(postgres_url):
    insert(postgres_url, 1)
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid != %s"
    admin = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    first = []

    def dropped_in_the_middle(connection):
        connection.execute(dead_letters.insert().values(letter(2)))
        if not first:
            first.append(True)
            with admin.connect() as killer:
                own = killer.exec_driver_sql("SELECT pg_backend_pid()").scalar()
                killer.exec_driver_sql(query, (own,))

    transaction(postgres_url, dropped_in_the_middle)
    assert count(postgres_url) == 2


def test_a_stopped_postgres_is_named_without_its_password_and_keeps_nothing_half_written(own_postgres, monkeypatch):
    monkeypatch.setattr(database, "GIVE_UP_SECONDS", 0.5)
    server, address = own_postgres
    url = address.set(password="hush").render_as_string(hide_password=False)
    insert(url, 1)

    def stopped_in_the_middle(connection):
        connection.execute(dead_letters.insert().values(letter(2)))
        server.stop()
        connection.execute(acknowledged.insert().values(queue="outbox", consumer="c", event_id="e"))

    start = time.monotonic()
    with pytest.raises(DatabaseError, match="Start the database or mend database_url") as caught:
        transaction(url, stopped_in_the_middle)
    assert time.monotonic() - start < 10
    assert "postgresql+psycopg2://postgres:***@" in str(caught.value)
    assert "hush" not in str(caught.value)
    server.start()
    assert (count(url), count(url, acknowledged)) == (1, 0)
    insert(url, 2)
    assert count(url) == 2


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"postgresql+psycopg2://{LOGIN}@host:5432/db", "postgresql+psycopg2://ann:***@host:5432/db"),
        ("redis://:hush@host/0", "redis://:***@host/0"),
        ("postgresql+psycopg2:///db?password=hush&host=/run", "postgresql+psycopg2:///db?password=***&host=/run"),
        ("postgresql+psycopg2://ann@host/db", "postgresql+psycopg2://ann@host/db"),
        ("sqlite:////home/a.db", "sqlite:////home/a.db"),
    ],
)
def test_a_url_is_shown_without_its_password(text, masked):
    assert without_password(text) == masked


@pytest.mark.parametrize("name", ["DATABASE_URL", "EVENT_BUS_URL"])
@pytest.mark.parametrize(
    "value", [f"mysql://{LOGIN}@host/db", f"postgresql://{LOGIN}@host/db", "sqlite://", "nonsense"]
)
def test_a_url_of_another_kind_is_refused_at_load_without_showing_its_password(name, value, monkeypatch):
    monkeypatch.setenv(f"QUANTUM_TRAINING_{name}", value)
    with pytest.raises(SettingsError, match=name.lower()) as caught:
        load_settings()
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("text", ["'; DROP TABLE ledger; --", "%s %(x)s :x ?", 'a"b`c\\', "ä\u2028\u202e"])
def test_text_that_looks_like_sql_is_stored_as_text(url, text):
    ledger, bus = Ledger(url=url), EventBus(database_url=url)
    texts = dict.fromkeys(("symbol", "key", "kind", "actor", "reason"), text)
    ledger.append([Entry(**texts, effective="2024-01-01T00:00:00+00:00", payload={text: text})])
    (row,) = ledger.rows(text, kinds=[text])
    assert {name: getattr(row, name) for name in texts} == texts
    assert row.payload == {text: text}
    ledger.verify(text)
    bus.inbox.receive([text])
    assert [letter.raw for letter in bus.inbox.dead_letters()] == [text]
    assert bus.inbox.read(text) == []


def test_a_statement_on_postgres_is_bounded_in_time(postgres_url, monkeypatch):
    monkeypatch.setattr(database, "POSTGRES_ANSWER_MILLISECONDS", 200)
    monkeypatch.setattr(database, "GIVE_UP_SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(DatabaseError, match=r"statement timeout.* See what else keeps the database busy"):
        transaction(postgres_url, lambda connection: connection.execute(sa.select(sa.func.pg_sleep(60))))
    assert time.monotonic() - start < 20


def test_what_only_reads_waits_for_no_writer(url):
    insert(url, 1)

    def write(connection):
        connection.execute(dead_letters.insert().values(letter(2)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "GIVE_UP_SECONDS", 0)
            query = sa.select(sa.func.count()).select_from(dead_letters)
            return database.reading(url, lambda reader: reader.execute(query).scalar_one())

    began = time.monotonic()
    assert transaction(url, write) == 1
    assert time.monotonic() - began < database.SQLITE_BUSY_SECONDS / 2
    assert count(url) == 2
