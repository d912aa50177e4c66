"""Delivery of alerts by webhook and e-mail, each with few attempts and short time limits. Storage: alert_store.py."""

from __future__ import annotations

import logging
import os
import smtplib
import ssl
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import urlsplit

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_random_exponential

from quantum_training.resources.alerts.message import Alert, AlertMessage, message_of, utc
from quantum_training.settings.alerting import AlertPolicy, Email
from quantum_training.sources.retry import OVERLOAD_STATUS

TIMEOUT_SECONDS = 5.0
ATTEMPTS, ATTEMPT_SECONDS = 3, 10.0
WEBHOOK_URL, SMTP_PASSWORD = "ALERT_WEBHOOK_URL", "ALERT_SMTP_PASSWORD"  # pragma: allowlist secret


class DeliveryError(RuntimeError):
    """A channel did not accept the alerts. The message names it and says what to do. It contains no secret."""


class _TransientError(DeliveryError):
    """Another attempt may succeed."""


def deliver(policy: AlertPolicy, database_url: str, now: float, log: logging.Logger) -> int:
    """Send the pending alerts, one message per channel. Returns the number of alerts that a channel accepted.

    If a channel fails, the error is logged; its alerts stay pending and are sent again after a minute.
    """
    from quantum_training.resources.alerts import alert_store

    email = policy.email
    channels: dict[str, Callable[[AlertMessage], None]] = {
        **({"webhook": post} if policy.webhook else {}),
        **({"email": lambda message: mail(email, message, now, log)} if email else {}),
    }
    pending, accepted = alert_store.claim(database_url, now), 0
    for name in dict.fromkeys(channel for one in pending for channel in one.channels):
        alerts: Sequence[Alert] = [one.alert for one in pending if name in one.channels]
        try:
            if name in channels:  # else it was switched off since, and its alerts are dropped
                _send(channels[name], message_of(alerts))
            accepted += len(alerts) if name in channels else 0
        except Exception as error:  # no failure of a channel may stop the sensor
            reason = str(error) if isinstance(error, DeliveryError) else f"{name}: {type(error).__name__}"
            log.warning(f"{len(alerts)} alerts wait: {reason}")
        else:
            alert_store.mark_sent(database_url, [str(alert.alert_id) for alert in alerts], name)
    return accepted


def post(message: AlertMessage) -> None:
    """POST the message as JSON to the webhook. DeliveryError for any answer but 2xx; redirects are not followed."""
    import requests

    url = secret(WEBHOOK_URL)
    host = urlsplit(url).hostname
    if urlsplit(url).scheme not in ("http", "https") or not host:
        raise DeliveryError(f"webhook: {WEBHOOK_URL} is no http or https URL; set it to the one that the service gave")
    try:
        response = requests.post(
            url,
            data=message.model_dump_json().encode(),
            headers={"Content-Type": "application/json", "Idempotency-Key": str(message.message_id)},
            timeout=TIMEOUT_SECONDS,
            allow_redirects=False,
            stream=True,
        )
        response.close()
    except requests.RequestException as error:  # its text contains the URL, which is the secret
        raise _TransientError(f"webhook: {host} does not answer: {type(error).__name__}; check the network") from None
    if response.status_code in OVERLOAD_STATUS:
        raise _TransientError(f"webhook: {host} answered {response.status_code}; it is tried again")
    if not response.ok or response.is_redirect:
        raise DeliveryError(f"webhook: {host} answered {response.status_code}; check {WEBHOOK_URL}")


def mail(email: Email, message: AlertMessage, now: float, log: logging.Logger) -> None:
    """Mail the message as plain text. DeliveryError if the server accepts it for no recipient.

    A single refused recipient is logged: a repeated message would reach all the others again.
    """
    letter = letter_of(email, message, now)
    password = secret(SMTP_PASSWORD) if email.user else ""
    where = f"email: {email.host}:{email.port}"
    secure = ssl.create_default_context()
    try:
        if email.tls == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(email.host, email.port, timeout=TIMEOUT_SECONDS, context=secure)
        else:
            server = smtplib.SMTP(email.host, email.port, timeout=TIMEOUT_SECONDS)
        with server:
            if email.tls == "starttls":
                server.starttls(context=secure)
            if email.user:
                server.login(email.user, password)
            refused = server.send_message(letter)
    except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError, ssl.SSLCertVerificationError) as error:
        raise DeliveryError(f"{where}: {type(error).__name__}; check alerts.email and {SMTP_PASSWORD}") from None
    except (smtplib.SMTPException, OSError) as error:
        raise _TransientError(f"{where}: {type(error).__name__}; check that the server takes mail") from None
    if refused:
        log.warning(f"{where}: refused {', '.join(sorted(refused))}; check alerts.email.recipients")


def letter_of(email: Email, message: AlertMessage, now: float) -> EmailMessage:
    """The message as an e-mail. Of outside text, its headers contain only the names of symbols."""
    names = sorted({alert.symbol or "all symbols" for alert in message.alerts})
    letter = EmailMessage()
    letter["Subject"] = f"[quantum_training] {len(message.alerts)} alerts: " + ", ".join(names)[:100]
    letter["From"], letter["To"] = email.sender, ", ".join(email.recipients)
    letter["Date"] = format_datetime(utc(now))
    letter["Message-ID"] = f"<{message.message_id}@{email.sender.rpartition('@')[2]}>"
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(message.text + "\n", cte="quoted-printable")
    return letter


def secret(name: str) -> str:
    """A secret from the environment variable, or the file that NAME_FILE names. DeliveryError if both are missing."""
    file = os.environ.get(f"{name}_FILE")
    try:
        value = os.environ.get(name) or (Path(file).read_text().strip() if file else "")
    except OSError as error:
        raise DeliveryError(f"{name}_FILE names {file}, which cannot be read: {error.strerror}; mend it") from None
    if not value:
        raise DeliveryError(f"alerts are to be sent, but {name} is not set; export it or {name}_FILE")
    return value


def _send(send: Callable[[AlertMessage], None], message: AlertMessage) -> None:
    Retrying(
        retry=retry_if_exception_type(_TransientError),
        wait=wait_random_exponential(multiplier=0.2, max=2),
        stop=stop_after_attempt(ATTEMPTS) | stop_after_delay(ATTEMPT_SECONDS),
        reraise=True,
    )(send, message)
