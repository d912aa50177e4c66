"""Stored alerts on both databases: sent once and counted, never lost, never claimed by two senders at a time."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from quantum_training.resources.alerts import alert_store
from quantum_training.resources.alerts.alert_store import NumberedFinding, claim, mark_sent, record

HOUR, NOW = 3600.0, 1_700_000_000.0


@pytest.fixture
def write(url, finding):
    """`write(symbols, causes, start=1, now=NOW, channels=...)`: a finding per symbol and cause, numbered on."""

    def write(symbols, causes, start=1, now=NOW, channels=("webhook", "email")):
        findings = [finding(symbol, cause) for symbol in symbols for cause in causes]
        numbered = [NumberedFinding(start + n, one) for n, one in enumerate(findings)]
        return record(url, numbered, channels, 24 * HOUR, now)

    return write


def weeks(number):
    return [f"no bars up to 2020-01-{day % 28 + 1:02}T00:00:00+00:00 in run {day:012x}" for day in range(number)]


def test_a_hundred_failing_weeks_of_a_symbol_are_one_alert_that_is_counted(write, url):
    (alert,) = write(["AAA"], weeks(100))
    assert (alert.symbol, alert.count, alert.before) == ("AAA", 100, 0)
    assert write(["AAA"], weeks(3), start=101, now=NOW + HOUR) == []
    (pending,) = claim(url, NOW + 2 * HOUR)
    assert (pending.alert.alert_id, pending.alert.count) == (alert.alert_id, 103)
    assert pending.channels == ("webhook", "email")


def test_another_symbol_cause_or_step_is_another_alert(write, url, finding):
    first = write(["AAA", "BBB"], ["no bars", "no version"])
    assert len({alert.alert_id for alert in first}) == 4
    other_step = record(url, [NumberedFinding(9, finding(next_step="start the database"))], (), 24 * HOUR, NOW)
    assert len(other_step) == 1


def test_after_the_window_a_new_alert_counts_its_occurrences(write):
    (first,) = write(["AAA"], weeks(7))
    (again,) = write(["AAA"], weeks(2), start=8, now=NOW + 24 * HOUR)
    assert again.alert_id != first.alert_id
    assert (again.count, again.before) == (2, 7)


def test_the_same_events_again_change_nothing(write, url):
    (alert,) = write(["AAA"], weeks(5))
    assert write(["AAA"], weeks(5)) == []
    (pending,) = claim(url, NOW)
    assert (pending.alert.alert_id, pending.alert.count) == (alert.alert_id, 5)


def test_a_pending_alert_can_be_claimed_once_a_minute_until_it_was_sent(write, url):
    write(["AAA", "BBB"], ["no bars"])
    ids = [one.alert.alert_id for one in claim(url, NOW)]
    assert claim(url, NOW + 59) == []
    mark_sent(url, ids, "webhook")
    again = claim(url, NOW + 60)
    assert [(one.alert.alert_id, one.channels) for one in again] == [(id_, ("email",)) for id_ in ids]
    mark_sent(url, ids, "email")
    assert claim(url, NOW + 999) == []


def test_a_clock_that_was_set_back_delays_no_alert(write, url):
    write(["AAA"], ["no bars"])
    assert len(claim(url, NOW + HOUR)) == 1
    assert len(claim(url, NOW)) == 1


def test_a_channel_that_was_off_gets_no_alert(write, url):
    write(["AAA"], ["no bars"], channels=())
    assert claim(url, NOW) == []


def test_unsent_alerts_are_given_up_and_old_ones_deleted(write, url):
    write(["AAA"], ["no bars"])
    assert claim(url, NOW + alert_store.GIVE_UP_SECONDS + 1) == []
    assert write(["AAA"], ["no bars"], start=2, now=NOW + HOUR) == []
    claim(url, NOW + alert_store.RETENTION_SECONDS + 2 * HOUR)
    (alert,) = write(["AAA"], ["no bars"], start=3, now=NOW + alert_store.RETENTION_SECONDS + 2 * HOUR)
    assert alert.before == 0


def test_two_sensors_never_claim_the_same_alert(write, url):
    write([f"S{n}" for n in range(40)], ["no bars"])
    with ThreadPoolExecutor(4) as pool:
        ids = [one.alert.alert_id for part in pool.map(lambda _: claim(url, NOW), range(4)) for one in part]
    assert len(ids) == len({*ids}) == 40
