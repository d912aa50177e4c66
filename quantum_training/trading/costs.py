"""What trading costs. Charged by the simulator and nowhere else."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Costs(BaseModel):
    """Proportional costs of one fill, in basis points of the traded value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fee_bps: float = Field(1.0, ge=0, le=1000, description="Exchange or broker fee per fill, in basis points.")
    slippage_bps: float = Field(1.0, ge=0, le=1000, description="Price given up per fill, in basis points.")

    @property
    def rate(self) -> float:
        """Cost of a fill as a fraction of its traded value."""
        return (self.fee_bps + self.slippage_bps) / 1e4

    @property
    def round_trip(self) -> float:
        """Cost of entering and leaving, as a fraction: the return that a trade must beat."""
        return 2 * self.rate
