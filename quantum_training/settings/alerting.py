"""Settings of alerts: where they are sent and how often. Secrets are not among them.

The webhook's URL is read from ALERT_WEBHOOK_URL, the password of the mail server from ALERT_SMTP_PASSWORD, or from the
file that the same name with _FILE names.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Address = Annotated[str, Field(pattern=r"^[^\s@<>,;:\"()\[\]\\]+@[^\s@<>,;:\"()\[\]\\]+$", max_length=254)]


class Email(BaseModel):
    """A mail server and who gets the mail."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(pattern=r"^[A-Za-z0-9.:-]+$", description="Name or address of the SMTP server.")
    port: int = Field(587, ge=1, le=65535, description="Its port: 587 for STARTTLS, 465 for TLS from the start.")
    tls: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the connection is encrypted; `none` sends everything readable, the password too."
    )
    user: str | None = Field(None, min_length=1, description="Log in as; none: no login.")
    sender: Address = Field(description="From.")
    recipients: tuple[Address, ...] = Field(min_length=1, description="To.")


class AlertPolicy(BaseModel):
    """Which alerts are sent, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    log: bool = Field(True, description="Into the log of the sensor that found it.")
    webhook: bool = Field(False, description="As JSON to the URL in ALERT_WEBHOOK_URL (or ALERT_WEBHOOK_URL_FILE).")
    email: Email | None = Field(None, description="As mail; none: no mail.")
    window_hours: float = Field(
        24, gt=0, le=24 * 28, description="The same alert is told once in so many hours; in between it is counted."
    )
    warnings: bool = Field(False, description="Also failed checks of severity WARN, as a decayed champion.")
    ui_url: str = Field(
        "http://127.0.0.1:3000", pattern=r"^https?://\S+$", description="Where links to runs point: the Dagster UI."
    )

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that may fail, by name."""
        return (*(["webhook"] if self.webhook else []), *(["email"] if self.email else []))
