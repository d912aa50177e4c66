"""Records of versions that were never trained."""

import pandas as pd
import pytest

from quantum_training.lifecycle.records import ModelRecord, ModelVersion, model_asset, write_record
from quantum_training.market.periods import week_of


@pytest.fixture
def record_version():
    """`record_version(store, recipe, as_of, model_id)` writes a week's record with this one accepted version."""

    def write(store, recipe, as_of, model_id, symbol="AAA"):
        time = pd.Timestamp(as_of, tz="UTC")
        version = ModelVersion(as_of=time.isoformat(), model_id=model_id)
        week = f"{week_of(time):%Y-%m-%d}"
        write_record(store, symbol, week, ModelRecord(outcome="trained", versions=(version,)), model_asset(recipe))

    return write
