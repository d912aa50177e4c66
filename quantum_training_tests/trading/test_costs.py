"""Costs: basis points to fractions, and what is refused."""

import pytest
from pydantic import ValidationError

from quantum_training.trading.costs import Costs


def test_ten_basis_points_of_fee_and_five_of_slippage_by_hand():
    costs = Costs(fee_bps=10, slippage_bps=5)
    assert costs.rate == pytest.approx(0.0015)
    assert costs.round_trip == pytest.approx(0.003)


@pytest.mark.parametrize("wrong", [{"fee_bps": -1}, {"slippage_bps": 1001}, {"fee": 1}])
def test_costs_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Costs(**wrong)
