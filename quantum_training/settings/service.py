"""Settings of the HTTP service: where it listens, whom it asks, how much a client may ask. Keys are not among them.

The keys are read from the file or the variable that quantum_training/service/security/keys.py names.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from quantum_training.settings.schema import Name


class ServiceSettings(BaseModel):
    """The HTTP service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", pattern=r"^[A-Za-z0-9.:-]+$", description="Address to listen on.")
    port: int = Field(8005, ge=1, le=65535, description="Port to listen on.")
    url: str = Field("http://127.0.0.1:8005", pattern=r"^https?://\S+$", description="Where links to its pages begin.")
    hosts: tuple[str, ...] = Field(
        ("127.0.0.1", "localhost", "[::1]"),
        min_length=1,
        description="Names by which clients may address the service, without the port; others are refused.",
    )
    dagster_url: str = Field(
        "http://127.0.0.1:3000", pattern=r"^https?://\S+$", description="Dagster's webserver, which starts the runs."
    )
    requests_per_minute: int = Field(
        600, ge=1, description="Requests that a key, or without keys an address, may send in a minute."
    )
    default_symbol: Name | None = Field(
        None, description="Symbol that requests of older clients mean that name none; default: the only one."
    )

    def report_url(self, *parts: str) -> str:
        """Address of a stored HTML page, as of `AAA`, `2020-01-27`, `drift`."""
        return "/".join([self.url.rstrip("/"), "reports", *parts])
