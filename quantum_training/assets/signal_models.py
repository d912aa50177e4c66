"""Loads the models that signals need, and tells a version that is broken from a registry that is away or lost."""

from collections.abc import Callable
from functools import cache

import dagster as dg

from quantum_training.assets.step_retries import will_retry
from quantum_training.lifecycle.consistency.inconsistency import InconsistentStateError
from quantum_training.lifecycle.consistency.registry import registry_inconsistencies
from quantum_training.lifecycle.services import Services
from quantum_training.models.contract import Model
from quantum_training.resources.registry.errors import RegistryError


def loader(
    context: dg.AssetExecutionContext, services: Services, symbol: str, unknown: list[Exception]
) -> Callable[[str], Model]:
    """The models of a symbol by id, each loaded once. An error that is not one version's own goes to `unknown`."""

    @cache
    def load(model_id: str) -> Model:
        try:
            return services.registry.load(symbol, model_id)
        except Exception as error:
            if will_retry(context, error):
                unknown.append(error)
            elif isinstance(error, RegistryError) and (lost := registry_inconsistencies(services, symbol)):
                unknown.append(InconsistentStateError(lost))
            raise

    return load
