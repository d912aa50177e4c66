"""A reward of one's own: a module's function says what a bar is worth to an agent that learns.

It is given numbers and not the account, so it cannot change how returns are made. How it is compiled is
own_reward_kernel.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

ARGUMENTS = ("gain", "cost", "drawdown", "position")


class OwnRewardError(ValueError):
    """A reward that cannot be used. The message names the module, the rule and what to do."""


class OwnReward(BaseModel):
    """The function `reward(gain, cost, drawdown, position, **params)` of a module, which numba compiles.

    It returns what a bar is worth, a finite number. gain: log return of the equity, after costs; cost: of the bar, as a
    share of the equity before; drawdown: 1 - equity / highest equity, at the close; position: share of the equity that
    is held at the close, negative if short. A ruin counts as an equity of episode_kernel.FLOOR and no position.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    module: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$", description="Dotted path of the module.")
    params: dict[str, FiniteFloat] = Field({}, description="Further arguments of its function `reward`.")

    def __hash__(self) -> int:
        """By its fields, of which `params` has no hash of its own."""
        return hash((self.module, frozenset(self.params.items())))

    def function(self) -> tuple[Callable[..., float], tuple[float, ...]]:
        """The function, not compiled, and its arguments after `position`.

        OwnRewardError if it cannot take them.
        """
        try:
            function = import_module(self.module).reward
        except Exception as error:  # a module of one's own raises what it likes
            raise self.error(
                f"cannot be imported: {type(error).__name__}: {error}; put its folder on PYTHONPATH, or mend it"
            ) from error
        function = getattr(function, "py_func", function)  # of one that its module compiles
        try:
            signature = inspect.signature(function)
            first = tuple(signature.parameters)[: len(ARGUMENTS)]
            if first != ARGUMENTS:  # all are numbers: nothing else would tell that two are exchanged
                raise TypeError(f"its first arguments are {', '.join(first)}")
            if any(p.kind > p.POSITIONAL_OR_KEYWORD for p in signature.parameters.values()):
                raise TypeError("numba compiles no argument after a *")
            bound = signature.bind(*ARGUMENTS, **self.params)
            bound.apply_defaults()
            return function, tuple(map(float, bound.args[len(ARGUMENTS) :]))
        except (TypeError, ValueError) as error:
            needed = ", ".join((*ARGUMENTS, *self.params))
            raise self.error(
                f"does not take {needed}, all numbers: {error}; name its further arguments in params"
            ) from None

    def error(self, problem: str) -> OwnRewardError:
        """An error that names the function."""
        return OwnRewardError(f"reward: {self.module}.reward {problem}")

    def not_finite(self, arguments: Sequence[float], reward: float, where: str = "") -> OwnRewardError:
        """The error for a reward that is NaN or infinite. arguments: values of ARGUMENTS."""
        return self.error(f"gave {reward:g}{where} ({_given(arguments)}); let it give a finite number")

    def raised(self, arguments: Sequence[float], error: Exception) -> OwnRewardError:
        """The error for what the function raises. arguments: values of ARGUMENTS."""
        return self.error(f"raised {type(error).__name__}: {error} ({_given(arguments)}); mend it")


def _given(arguments: Sequence[float]) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in zip(ARGUMENTS, arguments, strict=True))


class NotFiniteRewardError(ArithmeticError):
    """A compiled reward is NaN or infinite. Its args: the bar's row, ARGUMENTS, and the reward."""


def reward_in(params: Mapping[str, Any]) -> OwnReward | None:
    """The reward of one's own in a recipe's params; None if there is none or it is no valid one, as the fit says."""
    trading = params.get("trading")
    try:
        return OwnReward.model_validate(trading["reward"]) if isinstance(trading, Mapping) else None
    except (KeyError, ValidationError):
        return None
