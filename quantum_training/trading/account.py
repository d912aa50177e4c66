"""The rules of an account: capital, units, shorting, leverage and no-trade band. Costs live in costs.py."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Account(BaseModel):
    """The rules that the simulator applies to every order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    capital: float = Field(
        100_000.0, gt=0, description="Money at the start. Matters with whole units or a commission per share only."
    )
    whole_units: bool = Field(False, description="Trade whole units only, as most brokers do for stocks.")
    allow_short: bool = Field(False, description="Allow targets below zero.")
    max_leverage: float = Field(
        1.0, ge=1, le=100, description="Position value at most this multiple of equity, right after a fill."
    )
    no_trade_band: float = Field(
        0.0, ge=0, lt=1, description="A new target this close to the share already held is not traded; going flat is."
    )
