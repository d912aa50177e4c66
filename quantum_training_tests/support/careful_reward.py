"""A reward of one's own that uses all that it is given."""


def reward(gain: float, cost: float, drawdown: float, position: float, fear: float = 0.1) -> float:
    return gain - cost - fear * drawdown * abs(position)
