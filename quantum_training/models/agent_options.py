"""The recipe parameters that every agent has. Those of one algorithm are in its file (ppo.py, sac.py)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from quantum_training.trading.episodes import Trading

Network = Annotated[
    tuple[Annotated[int, Field(ge=1, le=8_192)], ...],
    Field(min_length=1, max_length=4, description="Hidden layers of actor and critic."),
]


class AgentOptions(BaseModel):
    """Parameters that all agents have in common. ppo.py and sac.py add their own and set the defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trading: Trading
    lags: int = Field(8, ge=0, le=200, description="Last log returns in an observation.")
    total_steps: int = Field(ge=1, le=1_000_000_000, description="Budget of a fit in bars traded.")
    max_seconds: float | None = Field(
        None, gt=0, description="Budget of a fit in wall time; a version whose fit it ends is not reproducible."
    )
    save_seconds: float = Field(60.0, gt=0, description="Seconds between two checkpoints of a fit.")
    environments: int = Field(ge=1, le=65_536, description="Episodes at once.")
    batch_size: int = Field(ge=2, le=1_000_000, description="Samples per gradient step.")
    learning_rate: float = Field(gt=0, le=1, description="Of Adam.")
    gamma: float = Field(0.99, gt=0, le=1, description="Discount per bar.")
    network: Network
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the networks are trained; auto: on a GPU if there is one."
    )
    threads: int = Field(1, ge=1, le=256, description="Threads of torch; the same bits come with the same number only.")

    def steps_of(self, episodes: int) -> int:
        """Bars that this number of episodes lasts on average."""
        longest = self.trading.episode_bars
        return max(episodes * (longest + max(longest // 4, 2)) // 2, 1)
