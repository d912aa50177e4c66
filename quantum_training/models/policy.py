"""The policy of a trained agent as plain arrays, and what it does over bars. Loads and runs without torch.

Training it is agent.py's. The steps of the account are those of training (trading.episode_kernel).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.episodes import Trading, market_rules
from quantum_training.trading.observation import View

Activation = Literal["tanh", "relu"]


class Lived(NamedTuple):
    """What a policy did over consecutive bars: goal, (bars,), decided at each close, NaN where it could not observe;
    heads, (bars, outputs), the network's last layer; equity, (bars,), at each close, 1 before the first."""

    goal: np.ndarray
    heads: np.ndarray
    equity: np.ndarray


@dataclass(frozen=True, eq=False)
class Policy:
    """A feed-forward network that decides deterministically: the likeliest action, or the mean of the continuous one.

    weights: name -> float32 array, `w0` (in, out), `b0` (out,), `w1`, ... squash: the last layer passes through tanh
    and is stretched over the range of targets.
    """

    weights: Mapping[str, np.ndarray]
    activation: Activation
    squash: bool

    def __post_init__(self) -> None:
        """ValueError where the layers do not follow on each other: the compiled code would read beyond them."""
        for layer, (wide, count) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            w, b = self.weights[f"w{layer}"], self.weights[f"b{layer}"]
            if (w.shape, b.shape) != ((wide, count), (count,)) or not w.dtype == b.dtype == np.float32:
                raise ValueError(
                    f"layer {layer} of the policy has weights {w.dtype}{list(w.shape)} and bias "
                    f"{b.dtype}{list(b.shape)}; it needs float32 of [{wide}, {count}] and [{count}]"
                )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers in, and out of each layer."""
        return (
            self.weights["w0"].shape[0],
            *(self.weights[f"b{layer}"].size for layer in range(len(self.weights) // 2)),
        )

    def live(
        self,
        view: View,
        trading: Trading,
        costs: Costs,
        account: Account,
        x: np.ndarray,
        opens: np.ndarray,
        close: np.ndarray,
    ) -> Lived:
        """Trade consecutive bars with an account of its own, flat before the first. x: (bars, features)."""
        from quantum_training.models.policy_kernel import live
        from quantum_training.trading.episode_kernel import ACCOUNT

        parts = [self.weights[f"{part}{layer}"].ravel() for layer in range(len(self.sizes) - 1) for part in "wb"]
        goal, equity = np.full(len(close), np.nan), np.full(len(close), account.capital)
        heads = np.full((len(close), self.sizes[-1]), np.nan, "float32")
        live(
            np.zeros(1, ACCOUNT),
            view.rows(x, close),
            np.ascontiguousarray(opens),
            np.ascontiguousarray(close),
            market_rules([view.unit], [costs], account, trading, 1.0)[0],
            account.capital,
            np.array(self.sizes),
            np.concatenate(parts),
            self.activation == "tanh",
            self.squash,
            goal,
            heads,
            equity,
        )
        return Lived(goal, heads, equity / account.capital)
