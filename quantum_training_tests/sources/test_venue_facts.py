"""Units of the volume of ccxt's markets."""

from __future__ import annotations

import pytest

from quantum_training.sources.venue_facts import VolumeUnit, volume_unit

SPOT = {"spot": True, "contract": False}
LINEAR = {"spot": False, "contract": True, "linear": True, "inverse": False, "contractSize": 0.01}
INVERSE = {**LINEAR, "linear": False, "inverse": True, "contractSize": 100}


@pytest.mark.parametrize(
    ("exchange", "market", "unit"),
    [
        ("gate", SPOT, VolumeUnit("base")),
        ("zaif", SPOT, VolumeUnit("base")),
        ("okx", LINEAR, VolumeUnit("base")),
        ("okx", INVERSE, VolumeUnit("base")),
        ("gate", LINEAR, VolumeUnit("base", 0.01)),
        ("mexc", INVERSE, VolumeUnit("quote", 100)),
        ("gate", {**LINEAR, "contractSize": None}, VolumeUnit("contracts")),
        ("mexc", {**LINEAR, "linear": None, "inverse": None}, VolumeUnit("contracts")),
        ("phemex", LINEAR, VolumeUnit("unknown")),
    ],
)
def test_contracts_are_converted_by_their_size_where_the_unit_is_known(exchange, market, unit):
    assert volume_unit(exchange, market) == unit
