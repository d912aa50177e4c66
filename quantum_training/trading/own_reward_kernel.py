"""Compiles a reward of one's own, and calls it from kernels that are compiled once for all rewards.

A kernel is given the address of the function. If the function were compiled into it, it would be compiled anew in every
process, which takes seconds; if it were an argument, each call of the kernel would take tens of microseconds more.
Imports numba, so it is imported where it is used.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from numba import float64, int64, njit, types
from numba.extending import intrinsic

from quantum_training.trading.own_reward import ARGUMENTS, OwnReward

FOUR = (float64,) * len(ARGUMENTS)


class CompiledReward(NamedTuple):
    """Where a compiled reward lies, for `call_reward`; and the function, which keeps it there.

    A copy in another process is compiled there.
    """

    reward: OwnReward
    address: int
    function: Any

    def __reduce__(self) -> tuple[Any, ...]:
        return compiled_reward, (self.reward,)


@cache
def compiled_reward(reward: OwnReward) -> CompiledReward:
    """Compile a reward of one's own. OwnRewardError says in a line why it cannot be.

    An index beyond an array is an IndexError: a write there would change the account, or end the process.
    """
    function, numbers = reward.function()
    try:
        own = njit(error_model="numpy", boundscheck=True)(function)
        own.compile((*FOUR, *(float64 for _ in numbers)))
    except Exception as error:  # numba and what it reads raise what they like
        lines = [line for line in str(error).splitlines() if line and not line.startswith("Failed in")]
        raise reward.error(
            f"cannot be compiled: {(lines or [type(error).__name__])[0]}; use numbers and NumPy alone, and put "
            "@numba.njit on the functions that it calls"
        ) from error
    return_type = own.nopython_signatures[0].return_type
    if not isinstance(return_type, types.Integer | types.Float | types.Boolean):
        raise reward.error(f"returns {return_type}, not a number; let it return one on every path")

    @njit(float64(*FOUR), error_model="numpy")
    def with_params(gain, cost, drawdown, position):
        return own(gain, cost, drawdown, position, *numbers)

    code: Any = next(iter(with_params.overloads.values()))
    return CompiledReward(reward, code.library.get_pointer_to_function(code.fndesc.llvm_func_name), with_params)


def _call_reward(typing_context, address, gain, cost, drawdown, position):
    def generate(context, builder, signature, args):
        convention = context.call_conv
        function = builder.inttoptr(args[0], convention.get_function_type(float64, FOUR).as_pointer())
        status, value = convention.call_function(builder, function, float64, FOUR, args[1:])
        with builder.if_then(status.is_error, likely=False):
            convention.return_status_propagate(builder, status)
        return value

    return float64(int64, *FOUR), generate


call_reward: Any = intrinsic(_call_reward)
"""`call_reward(address, gain, cost, drawdown, position)` in a kernel: what the compiled reward at an address returns.
Raises what the reward raises."""
