"""Alerts over real sockets: servers that fail first, hang or refuse; nothing is lost, no secret is shown."""

import email
import json
import logging
import time

import pytest
from pydantic import ValidationError

from quantum_training.resources.alerts import alert_store, delivery
from quantum_training.resources.alerts.alert_store import NumberedFinding, record
from quantum_training.resources.alerts.delivery import deliver
from quantum_training.resources.alerts.message import AlertMessage
from quantum_training.settings.alerting import AlertPolicy, Email

NOW = 1_700_000_000.0
log = logging.getLogger("test")


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/a.db"


@pytest.fixture
def webhook(servers, monkeypatch):
    """`webhook(*answers)`: a web server whose URL is the secret, with waits and time limits of a fast test."""
    monkeypatch.setattr(delivery, "TIMEOUT_SECONDS", 0.3)

    def webhook(*answers):
        server = servers(servers.web, *answers)
        monkeypatch.setenv("ALERT_WEBHOOK_URL", server.url)
        return server

    return webhook


@pytest.fixture
def mailbox(servers, monkeypatch):
    """`mailbox(*greetings, **fields)`: a mail server and the settings that name it."""
    monkeypatch.setattr(delivery, "TIMEOUT_SECONDS", 0.3)

    def mailbox(*greetings, **fields):
        server = servers(servers.mail, *greetings)
        usual = {"host": "127.0.0.1", "port": server.port, "tls": "none", "sender": "dagster@example.org"}
        return server, Email(**{**usual, "recipients": ["ann@example.org", "bob@example.org"], **fields})

    return mailbox


def store(url, policy, *findings):
    numbered = [NumberedFinding(number, finding) for number, finding in enumerate(findings)]
    return record(url, numbered, policy.channels, 3600, NOW, policy.ui_url)


def test_a_webhook_that_fails_at_first_gets_one_message_with_all_alerts(url, webhook, finding):
    server, policy = webhook(500, -1, 200), AlertPolicy(webhook=True)
    alerts = store(url, policy, finding("AAA"), finding("BBB"), finding("AAA", "no version", next_step="train it"))
    assert deliver(policy, url, NOW, log) == 3
    assert len({*server.bodies}) == 1
    assert len(server.bodies) == 3
    message = AlertMessage.model_validate_json(server.bodies[-1])
    assert {alert.alert_id for alert in message.alerts} == {alert.alert_id for alert in alerts}
    assert server.headers[-1]["Idempotency-Key"] == str(message.message_id)
    first, second = json.loads(server.bodies[-1])["text"].split("\n\n")
    assert first.splitlines() == [
        "ERROR AAA, BBB: candles AAA|2020-01-01",
        "Cause: no bars",
        "Next step: run market_data",
        "http://127.0.0.1:3000/runs/r1",
    ]
    assert "Cause: no version\nNext step: train it" in second
    assert deliver(policy, url, NOW + 999, log) == 0
    assert len(server.bodies) == 3


@pytest.mark.parametrize(("answers", "requests"), [((0,), 3), ((503,), 3), ((404,), 1), ((302,), 1)])
def test_alerts_not_accepted_stay_pending_and_no_secret_is_logged(url, webhook, finding, caplog, answers, requests):
    server, policy = webhook(*answers), AlertPolicy(webhook=True)
    (alert,) = store(url, policy, finding())
    started = time.monotonic()
    assert deliver(policy, url, NOW, log) == 0
    assert time.monotonic() - started < delivery.ATTEMPT_SECONDS + 2
    assert len(server.bodies) == requests
    assert "1 alerts wait: webhook: 127.0.0.1" in caplog.text
    assert "s3cret" not in caplog.text
    server.answers = [200]
    assert deliver(policy, url, NOW + 61, log) == 1
    assert AlertMessage.model_validate_json(server.bodies[-1]).alerts[0].alert_id == alert.alert_id


def test_an_unreachable_server_is_named_without_the_secret(url, webhook, finding, caplog):
    policy, server = AlertPolicy(webhook=True), webhook(200)
    server.stop()
    store(url, policy, finding())
    assert deliver(policy, url, NOW, log) == 0
    assert "127.0.0.1 does not answer" in caplog.text
    assert "s3cret" not in caplog.text


def test_mail_arrives_with_every_alert_and_its_own_headers(url, mailbox, finding, monkeypatch):
    monkeypatch.setenv("ALERT_SMTP_PASSWORD", "pass word")
    server, settings = mailbox(220, user="ann")
    policy = AlertPolicy(email=settings)
    store(url, policy, finding("AAA"), finding("BTC-USDT", "Ünglück"))
    assert deliver(policy, url, NOW, log) == 2
    (letter,) = (email.message_from_string(text, policy=email.policy.default) for text in server.letters)
    assert letter["Subject"] == "[quantum_training] 2 alerts: AAA, BTC-USDT"
    assert (letter["From"], letter["To"]) == ("dagster@example.org", "ann@example.org, bob@example.org")
    assert "Cause: Ünglück" in letter.get_content()
    assert sum(line.upper().startswith("RCPT") for line in server.lines) == 2
    assert any(line.startswith("AUTH PLAIN") for line in server.lines)


def test_mail_waits_for_a_server_that_hangs_or_is_busy(url, mailbox, finding):
    server, settings = mailbox(421, 0, 421)
    policy = AlertPolicy(email=settings)
    store(url, policy, finding())
    assert deliver(policy, url, NOW, log) == 0
    server.greetings = [220]
    assert deliver(policy, url, NOW + 61, log) == 1
    assert len(server.letters) == 1


def test_a_password_is_never_sent_without_the_requested_encryption(url, mailbox, finding, monkeypatch, caplog):
    monkeypatch.setenv("ALERT_SMTP_PASSWORD", "s3cret")
    server, settings = mailbox(220, tls="starttls", user="ann")
    policy = AlertPolicy(email=settings)
    store(url, policy, finding())
    assert deliver(policy, url, NOW, log) == 0
    assert not [line for line in server.lines if line.startswith("AUTH")]
    assert "check alerts.email" in caplog.text


def test_a_refused_recipient_is_named_and_the_others_get_the_mail_once(url, mailbox, finding, caplog):
    server, settings = mailbox(220)
    server.refused = "bob@"
    policy = AlertPolicy(email=settings)
    store(url, policy, finding())
    assert [deliver(policy, url, NOW, log), deliver(policy, url, NOW + 61, log)] == [1, 0]
    assert len(server.letters) == 1
    assert "refused bob@example.org; check alerts.email.recipients" in caplog.text


def test_mail_refused_for_every_recipient_stays_pending(url, mailbox, finding):
    server, settings = mailbox(220)
    server.refused = "@example.org>"
    policy = AlertPolicy(email=settings)
    store(url, policy, finding())
    assert deliver(policy, url, NOW, log) == 0
    server.refused = ""
    assert deliver(policy, url, NOW + 61, log) == 1
    assert len(server.letters) == 1


def test_a_channel_that_fails_does_not_stop_the_others(url, webhook, mailbox, finding):
    web, (post, settings) = webhook(404), mailbox(220)
    policy = AlertPolicy(webhook=True, email=settings)
    store(url, policy, finding())
    assert deliver(policy, url, NOW, log) == 1
    web.answers = [204]
    assert deliver(policy, url, NOW + 61, log) == 1
    assert (len(post.letters), len(web.bodies)) == (1, 2)


def test_alerts_of_a_switched_off_channel_are_dropped(url, webhook, finding):
    server = webhook(200)
    store(url, AlertPolicy(webhook=True), finding())
    assert deliver(AlertPolicy(), url, NOW, log) == 0
    assert deliver(AlertPolicy(webhook=True), url, NOW + 61, log) == 0
    assert server.bodies == []


def test_no_external_text_becomes_a_mail_header_or_a_line(url, mailbox, finding):
    server, settings = mailbox(220)
    policy = AlertPolicy(email=settings)
    nasty = "x\r\n.\r\nMAIL FROM:<evil@example.org>\r\nBcc: evil@example.org\x00\x1b[2J\udcff"
    store(url, policy, finding("A\r\nBcc: evil@example.org", nasty))
    deliver(policy, url, NOW, log)
    (letter,) = (email.message_from_string(text, policy=email.policy.default) for text in server.letters)
    assert (letter["Bcc"], letter["Subject"]) == (None, "[quantum_training] 1 alerts: A Bcc: evil@example.org")
    assert sum(line.upper().startswith("MAIL") for line in server.lines) == 1
    cause = next(line for line in letter.get_content().splitlines() if line.startswith("Cause: "))
    assert cause == "Cause: x . MAIL FROM:<evil@example.org> Bcc: evil@example.org [2J\\udcff"


@pytest.mark.parametrize(
    "wrong",
    [
        {"sender": "a@b.org\nBcc: c@d.org"},
        {"recipients": ["a@b.org, c@d.org"]},
        {"recipients": []},
        {"host": "mail\r\n"},
        {"password": "never here"},  # pragma: allowlist secret
    ],
)
def test_settings_that_could_forge_a_mail_or_hold_a_password_are_refused(wrong):
    right = {"host": "mail", "sender": "a@b.org", "recipients": ["a@b.org"]}
    Email(**right)
    with pytest.raises(ValidationError):
        Email(**{**right, **wrong})


def test_a_secret_may_be_in_a_file_and_a_missing_one_is_named(url, webhook, finding, monkeypatch, tmp_path, caplog):
    policy, server = AlertPolicy(webhook=True), webhook(200)
    store(url, policy, finding())
    monkeypatch.delenv("ALERT_WEBHOOK_URL")
    assert deliver(policy, url, NOW, log) == 0
    assert "ALERT_WEBHOOK_URL is not set; export it or ALERT_WEBHOOK_URL_FILE" in caplog.text
    (tmp_path / "url").write_text(f"{server.url}\n")
    monkeypatch.setenv("ALERT_WEBHOOK_URL_FILE", str(tmp_path / "url"))
    assert deliver(policy, url, NOW + 61, log) == 1


def test_a_hundred_symbols_with_one_cause_are_one_paragraph(url, webhook, finding):
    server, policy = webhook(200), AlertPolicy(webhook=True)
    store(url, policy, *(finding(f"S{n:03}", f"S{n:03}: no bars up to 2020-01-{n % 28 + 1:02}") for n in range(100)))
    assert deliver(policy, url, NOW, log) == alert_store.CLAIM_LIMIT == 100
    text = json.loads(server.bodies[0])["text"]
    assert text.startswith("ERROR S000, S001,")
    assert "and 90 more: " in text
    assert len(text.splitlines()) == 4
