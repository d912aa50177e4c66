"""Messages of the replaced systems arrive over the table and over Redis; what is unfit names the sender's field."""

import json
from datetime import UTC, datetime

import pytest

from quantum_training.resources.database import inbox, transaction
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.redis_stream import INBOX_STREAM

NOW = datetime(2024, 1, 8, tzinfo=UTC)
METRICS = {"model_name": "xgboost", "win_rate": 0.55, "sharpe_ratio": 1.2, "max_drawdown_pct": 12.5}
RETRAIN = {"model_type": "xgboost", "trigger": "MANUAL", "reason": "new fees"}
DRIFT = {"severity": "severe", "drift_type": "features", "psi_score": 0.31, "recommendation": "retrain"}
ID = "7f5a0a5e-1111-4222-8333-944444444444"


@pytest.fixture
def bus(url):
    return EventBus(database_url=url)


def message(kind, payload, **envelope):
    return json.dumps({"type": kind, "symbol": "AAA", **envelope, "payload": payload})


def flat(kind, payload, **envelope):
    return json.dumps({"event_type": kind, "symbol": "AAA", **envelope, **payload})


@pytest.mark.parametrize("form", [message, flat])
def test_measurements_with_the_older_names_and_fields_are_understood(bus, form):
    text = form("performance.metrics_updated", METRICS, timestamp="2024-01-08T00:00:00", model_version="v7")
    bus.inbox.receive([text, text])
    (event,) = bus.inbox.read("one")
    assert (event.symbol, event.payload.model_type, event.payload.measured_at) == ("AAA", "xgboost", NOW)
    assert event.payload.metrics == {"win_rate": 0.55, "sharpe": 1.2, "max_drawdown_pct": 12.5}
    assert bus.inbox.dead_letters() == []


@pytest.mark.parametrize("form", [message, flat])
def test_a_request_for_one_model_type_and_a_severity_in_small_letters_are_understood(bus, form):
    bus.inbox.receive([form("manual.retrain_request", RETRAIN), form("data.drift_signal", DRIFT)])
    request, signal = (event.payload for event in bus.inbox.read("one"))
    assert (request.recipes, request.reason, request.requested_by) == (("xgboost",), "new fees", "not named")
    assert (datetime.now(UTC) - request.requested_at).total_seconds() < 60, "sent when it arrived"
    assert (signal.severity, signal.reason) == ("SEVERE", "drift of features, PSI 0.31, retrain")
    assert bus.inbox.dead_letters() == []


def test_the_own_envelope_may_hold_older_fields_and_its_event_id_counts(bus):
    own = {"event_id": ID, "schema_version": 1}
    for payload in (METRICS | {"measured_at": "2024-01-08T00:00:00Z"}, METRICS):
        bus.inbox.receive([message("performance.metrics_updated", payload, **own)])
    (event,) = bus.inbox.read("one")
    assert str(event.event_id) == ID


def test_a_market_with_a_slash_is_the_symbol_with_a_hyphen(bus):
    bus.inbox.receive([flat("manual.retrain_request", RETRAIN, symbol="BTC/USDT")])
    assert [event.symbol for event in bus.inbox.read("one")] == ["BTC-USDT"]


@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [
        ("performance.metrics_updated", METRICS | {"sharpe_ratio": "high"}, "sharpe_ratio: Input should be a valid n"),
        ("performance.metrics_updated", METRICS | {"win_rate": float("nan")}, "win_rate: Input should be a finite"),
        ("performance.metrics_updated", METRICS | {"model_name": 7}, "model_name: Input should be a valid string"),
        ("performance.metrics_updated", METRICS | {"timestamp": "soon"}, "timestamp: "),
        ("performance.metrics_updated", {"win_rate": 0.5}, "model_type: Field required"),
        ("performance.metrics_updated", METRICS | {"symbol": "A|B"}, "symbol: "),
        ("performance.metrics_updated", METRICS | {"symbol": None}, "symbol: Field required"),
        ("data.drift_signal", DRIFT | {"severity": "high"}, "severity: Input should be 'NONE', 'MINOR'"),
        ("data.drift_signal", {"severity": "severe"}, "reason: Field required"),
        ("manual.retrain_request", RETRAIN | {"model_type": ["a"]}, "model_type.0: Input should be a valid string"),
        ("manual.retrain_request", {"model_type": "xgboost"}, "reason: Field required"),
        ("manual.retrain_request", RETRAIN | {"force": True}, "force: Extra inputs are not permitted"),
        ("manual.retrain_request", {"payload": "x"}, "payload: it should be an object"),
        ("manual.retrain_request", RETRAIN | {"event_id": "evt-1"}, "event_id: "),
    ],
)
def test_what_cannot_be_used_is_a_dead_letter_that_names_the_senders_field(bus, kind, fields, reason):
    bus.inbox.receive([flat(kind, fields), flat("manual.retrain_request", RETRAIN, event_id=ID)])
    (letter,) = bus.inbox.dead_letters()
    assert reason in letter.reason
    assert [str(event.event_id) for event in bus.inbox.read("one")] == [ID], "the others go on"


def test_a_row_of_another_writer_in_the_inbox_table_is_understood_and_keeps_its_id_and_time(bus, url):
    body = flat("performance.metrics_updated", METRICS)
    row = {"event_id": ID, "type": "performance.metrics_updated", "symbol": "AAA", "body": body, "recorded_at": NOW}
    transaction(url, lambda connection: connection.execute(inbox.insert(), [row]))
    (event,) = bus.inbox.find("performance.metrics_updated", "AAA")
    assert (str(event.event_id), event.payload.measured_at) == (ID, NOW)
    assert bus.inbox.read("one") == [event]
    bus.inbox.acknowledge("one", [event])
    assert bus.inbox.read("one") == []


def test_flat_fields_in_a_redis_stream_are_understood(redis_server, tmp_path):
    import redis

    bus = EventBus(database_url=f"sqlite:///{tmp_path}/bus.db", url=redis_server.url)
    with redis.Redis.from_url(redis_server.url) as client:
        client.xadd(INBOX_STREAM, {"event": "performance.metrics_updated", "symbol": "AAA", **METRICS})
        client.xadd(INBOX_STREAM, {"type": "manual.retrain_request", "symbol": "AAA", "payload": json.dumps(RETRAIN)})
        client.xadd(INBOX_STREAM, {"event": flat("data.drift_signal", DRIFT)}, id="99999999999999999-0")
        client.xadd(INBOX_STREAM, {"type": "data.drift_signal", "symbol": "AAA", **DRIFT, "severity": "x"}, id="*")
    metrics, request, *drift = (event.payload for event in bus.inbox.read("one"))
    assert metrics.metrics == {"win_rate": 0.55, "sharpe": 1.2, "max_drawdown_pct": 12.5}
    assert (datetime.now(UTC) - metrics.measured_at).total_seconds() < 60
    assert request.recipes == ("xgboost",)
    assert drift == [], "without a time, and Redis' number of the entry is none"
    reasons = [letter.reason for letter in bus.inbox.dead_letters()]
    assert ["observed_at: Field required" in reasons[0], "severity: Input should" in reasons[1]] == [True, True]
