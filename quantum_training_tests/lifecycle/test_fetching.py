"""What is asked of fetched bars beside the stored ones: their volume is in the same unit."""

import pytest

from quantum_training.lifecycle.fetching import changed_unit
from quantum_training.market.notes import CONTRACT_SIZE, VOLUME_UNIT, Notes

BASE = Notes({VOLUME_UNIT: "base"})
CONVERTED = Notes({VOLUME_UNIT: "base", CONTRACT_SIZE: 0.001})
CONTRACTS = Notes({VOLUME_UNIT: "contracts", CONTRACT_SIZE: 0.001})
EARLIER_BUILD = Notes()


@pytest.mark.parametrize(
    ("stored", "fetched"),
    [
        (BASE, BASE),
        (CONVERTED, CONVERTED),
        (CONTRACTS, CONTRACTS),
        (EARLIER_BUILD, BASE),
        (EARLIER_BUILD, CONTRACTS),
        (EARLIER_BUILD, EARLIER_BUILD),
    ],
)
def test_volumes_in_one_unit_go_on(stored, fetched):
    assert changed_unit("AAA", stored.attributes, fetched) == []


@pytest.mark.parametrize(
    ("stored", "fetched", "option"),
    [
        (EARLIER_BUILD, CONVERTED, "venue"),
        (CONTRACTS, CONVERTED, "venue"),
        (CONVERTED, CONTRACTS, "base"),
    ],
)
def test_volumes_in_contracts_and_in_the_base_currency_are_not_mixed(stored, fetched, option):
    (defect,) = changed_unit("AAA", stored.attributes, fetched)
    assert defect.severity == "error"
    assert f"Set source.volume to {option}, or run" in defect.message
