"""The policy of a trained agent as plain arrays, and its trajectory over bars. Loads and runs without torch.

agent.py trains it. The account moves as in training (trading.episode_kernel).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from quantum_training.trading.episodes import Market, Trading, market_rules
from quantum_training.trading.liquidity import extra_slippage
from quantum_training.trading.observation import View

Activation = Literal["tanh", "relu"]


class Trajectory(NamedTuple):
    """What a policy did over consecutive bars."""

    goal: np.ndarray
    """Target position decided at each close, (bars,); NaN if a number of the observation is missing."""
    heads: np.ndarray
    """Outputs of the network's last layer, (bars, outputs)."""
    equity: np.ndarray
    """Equity at each close as a multiple of the capital, (bars,)."""


@dataclass(frozen=True, eq=False)
class Policy:
    """A feed-forward network that decides deterministically: the likeliest action, or the mean of the continuous one.

    weights: float32 arrays by name, `w0` (in, out), `b0` (out,), `w1`, ... squash: tanh of the last layer is scaled to
    the range of targets.
    """

    weights: Mapping[str, np.ndarray]
    activation: Activation
    squash: bool

    def __post_init__(self) -> None:
        """ValueError if the shapes of the layers do not fit together: the compiled code would read beyond them."""
        for layer, (inputs, outputs) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            w, b = self.weights[f"w{layer}"], self.weights[f"b{layer}"]
            if (w.shape, b.shape) != ((inputs, outputs), (outputs,)) or not w.dtype == b.dtype == np.float32:
                raise ValueError(
                    f"layer {layer} of the policy has weights {w.dtype}{list(w.shape)} and bias "
                    f"{b.dtype}{list(b.shape)}; it needs float32 of [{inputs}, {outputs}] and [{outputs}]"
                )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of inputs, then the number of outputs of each layer."""
        return (
            self.weights["w0"].shape[0],
            *(self.weights[f"b{layer}"].size for layer in range(len(self.weights) // 2)),
        )

    def trade(self, view: View, trading: Trading, market: Market, x: np.ndarray) -> Trajectory:
        """Trade the market's bars with an account that is flat before the first.

        market: consecutive candles with `open` and `close`, and perhaps what liquidity.untraded_bars reads; their costs
        and the account. x: features, (bars, columns).
        """
        from quantum_training.models.policy_kernel import trade_bars
        from quantum_training.trading.episode_kernel import ACCOUNT

        parts = [self.weights[f"{part}{layer}"].ravel() for layer in range(len(self.sizes) - 1) for part in "wb"]
        opens, close = (market.candles[name].to_numpy("float64") for name in ("open", "close"))
        account, extra = market.account, extra_slippage(market.candles, market.costs)
        goal, equity = np.full(len(close), np.nan), np.full(len(close), account.capital)
        heads = np.full((len(close), self.sizes[-1]), np.nan, "float32")
        trade_bars(
            np.zeros(1, ACCOUNT),
            view.rows(x, close),
            np.column_stack([opens, close, extra]),
            market_rules([view.unit], [market.costs], account, trading, 1.0)[0],
            account.capital,
            np.array(self.sizes),
            np.concatenate(parts),
            self.activation == "tanh",
            self.squash,
            goal,
            heads,
            equity,
        )
        return Trajectory(goal, heads, equity / account.capital)
