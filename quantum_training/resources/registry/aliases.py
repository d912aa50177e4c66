"""Aliases of versions in MLflow, as `champion` or `shadow-xgboost`: which version number each of them points at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from quantum_training.resources.registry.connection import checked_name
from quantum_training.resources.registry.errors import RegistryError, outages_named


class AliasedVersion(NamedTuple):
    """The version that an alias points at: its number in MLflow and its tags."""

    number: int
    tags: dict[str, str]


@dataclass(frozen=True)
class Aliases:
    """The aliases of every symbol. `number_of(symbol, model_id)` is a version's number, None if it is not in MLflow."""

    uri: str
    client: Callable[[], Any] = field(repr=False)
    number_of: Callable[[str, str], int | None] = field(repr=False)

    @outages_named
    def of(self, symbol: str) -> dict[str, int]:
        """The aliases of a symbol and the version numbers that they point at."""
        registered = self.client().search_registered_models(f"name = '{checked_name(symbol)}'")
        return {alias: int(number) for alias, number in registered[0].aliases.items()} if registered else {}

    @outages_named
    def move(self, symbol: str, targets: Mapping[str, str | None]) -> None:
        """Point each alias at the version with the given model_id; None removes the alias. Safe to run again.

        RegistryError if a version is not in MLflow; no alias has moved then.
        """
        client = self.client()
        present = {alias: self.target(symbol, alias) for alias in targets}
        current = {alias: version.number if version else None for alias, version in present.items()}
        numbers = {alias: self.number_of(symbol, model_id) if model_id else None for alias, model_id in targets.items()}
        for alias, model_id in targets.items():
            if model_id and numbers[alias] is None:
                raise RegistryError(
                    f"{symbol}: alias {alias} needs version {model_id}, which is not in MLflow; "
                    "re-materialise the partition of the model that recorded it"
                )
        for alias, number in numbers.items():
            if number is not None and current[alias] != number:
                client.set_registered_model_alias(symbol, alias, str(number))
            elif number is None and current[alias] is not None:
                client.delete_registered_model_alias(symbol, alias)

    @outages_named
    def target(self, symbol: str, alias: str) -> AliasedVersion | None:
        """The version that an alias points at. For all aliases at once MLflow would read all versions of a symbol."""
        from mlflow.exceptions import MlflowException

        try:
            version = self.client().get_model_version_by_alias(checked_name(symbol), alias)
            return AliasedVersion(int(version.version), dict(version.tags))
        except MlflowException as error:
            if error.error_code not in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
                raise
            return None
