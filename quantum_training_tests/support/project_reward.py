"""The reward of the project as one of one's own, but for the penalty of drawdown."""


def reward(gain: float, cost: float, drawdown: float, position: float, risk: float = 0.0) -> float:
    return gain - risk * gain * gain
