"""The costs of trading. Only the simulator charges them."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer


class Costs(BaseModel):
    """Costs of one fill and of holding. A basis point is 1/10,000; `cap` is a fraction.

    The commission of a fill of q units is fee_bps of its value plus min(max(per_share * q, minimum), cap * value), as
    a broker charges for stocks: 0.01 a share, at least 2.50, at most 1 % of the value. It is off if
    per_share and minimum are 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fee_bps: float = Field(1.0, ge=0, le=1000, description="Exchange or broker fee per fill, in basis points.")
    slippage_bps: float = Field(1.0, ge=0, le=1000, description="Price given up per fill, in basis points.")
    untraded_slippage_bps: float | None = Field(
        None,
        ge=0,
        le=1000,
        description="Slippage beside `slippage_bps` of a fill in a bar in which nobody traded (volume 0). Not set: an "
        "order is not filled there, it waits for the next bar with trades. A market that always has volume 0 does not "
        "report its volume: its bars count as traded.",
    )
    per_share: float = Field(0.0, ge=0, description="Commission per unit traded, in money.")
    minimum: float = Field(0.0, ge=0, description="Least commission of a fill, in money.")
    cap: float = Field(0.01, gt=0, le=0.5, description="Most commission of a fill, as a fraction of its value.")
    borrow_bps: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="Per bar with a position, of what is borrowed: a short's value, and cash below 0.",
    )
    funding_bps: float = Field(
        0.0, ge=-1000, le=1000, description="Per bar, of the position's value: longs pay it, shorts receive it."
    )

    @model_serializer(mode="wrap")
    def _without_unset(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `untraded_slippage_bps` if it is not set: artefacts and ids of versions are older than this field."""
        return {name: value for name, value in serialise(self).items() if value is not None}

    def round_trip(self, price: np.ndarray | float, capital: float) -> np.ndarray | float:
        """Cost of entering and leaving with `capital`, as a fraction of it: the return that a trade must beat.

        price: of one unit in money, a number or an array; the result has its shape.
        """
        commission = np.minimum(np.maximum(self.per_share / np.asarray(price), self.minimum / capital), self.cap)
        return 2 * ((self.fee_bps + self.slippage_bps) / 1e4 + commission)
