"""Costs: the return that a round trip must earn, and invalid costs. How a fill is charged: test_simulator.py."""

import numpy as np
import pytest
from pydantic import ValidationError

from quantum_training.trading.costs import Costs


def test_a_round_trip_in_basis_points_by_hand():
    costs = Costs(fee_bps=10, slippage_bps=5)
    assert costs.round_trip(123.0, 1e5) == pytest.approx(0.003)


def test_a_round_trip_at_a_broker_by_hand():
    """100,000 buy 1,000 at 100: 10.00 each way. 1,000 buy 10: the minimum of 2.50. 20 buy 20 at 1: the cap of 1 %."""
    costs = Costs(fee_bps=0, slippage_bps=0, per_share=0.01, minimum=2.5, cap=0.01)
    assert costs.round_trip(100.0, 1e5) == pytest.approx(2 * 10 / 1e5)
    assert costs.round_trip(100.0, 1e3) == pytest.approx(2 * 2.5 / 1e3)
    assert costs.round_trip(1.0, 20.0) == pytest.approx(0.02)
    np.testing.assert_allclose(costs.round_trip(np.array([100.0, 10.0, 0.1]), 1e5), [0.0002, 0.002, 0.02])


@pytest.mark.parametrize("wrong", [{"fee_bps": -1}, {"slippage_bps": 1001}, {"fee": 1}, {"cap": 0.9}, {"minimum": -1}])
def test_impossible_costs_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Costs(**wrong)
