"""A small market of six months with its services, filled without Dagster."""

import pandas as pd
import pytest

from quantum_training.lifecycle.ingestion import compute_month_features, ingest_month
from quantum_training.lifecycle.records import ModelRecord, ModelVersion, model_asset, write_record
from quantum_training.lifecycle.services import Services
from quantum_training.market.periods import Key, week_of

MONTHS = ("2019-09-01", "2019-10-01", "2019-11-01", "2019-12-01", "2020-01-01", "2020-02-01")


@pytest.fixture
def market(workspace):
    """`market(settings, **months)`: services over these settings, with the months of AAA (all by default) in store.

    `BBB=("2020-01-01",)` ingests these months of BBB, too.
    """

    def build(settings, **months):
        home = workspace(settings)
        services = Services(home.settings, home.store, home.registry, home.events)
        for symbol, periods in {"AAA": MONTHS, **months}.items():
            for period in periods:
                key = Key(symbol, pd.Timestamp(period, tz="UTC"))
                assert ingest_month(home.store, home.settings, key, pd.Timestamp.now("UTC")).written
                compute_month_features(home.store, home.settings, key)
        return services

    return build


@pytest.fixture
def record_version():
    """`record_version(store, recipe, as_of, model_id)` writes a week's record with this one accepted version."""

    def write(store, recipe, as_of, model_id, symbol="AAA"):
        time = pd.Timestamp(as_of, tz="UTC")
        version = ModelVersion(as_of=time.isoformat(), model_id=model_id)
        week = f"{week_of(time):%Y-%m-%d}"
        write_record(store, symbol, week, ModelRecord(outcome="trained", versions=(version,)), model_asset(recipe))

    return write
