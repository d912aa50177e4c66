"""Loads the models of a symbol's versions. Those that cannot be loaded or hold NaN decide nothing, and it notes why."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from quantum_training.models.contract import Model
from quantum_training.models.finite_weights import non_finite_weights
from quantum_training.resources.registry.errors import RegistryError, VersionDeleted
from quantum_training.trading.scoring import Version

Load = Callable[[str], Model]
"""The model of a version by its model id. RegistryError if it cannot be loaded."""


class VersionLoader:
    """Loads each version of a symbol once, and collects the errors of those that cannot be loaded.

    load: the model by its model id; log: takes the message of each error. errors: by model id; deleted: the versions
    that MLflow no longer has, in the order of loading. An outage of MLflow is raised.
    """

    def __init__(self, load: Load, log: Callable[[str], object] = lambda message: None) -> None:
        self.load_or_raise, self._log = load, log
        self._models: dict[str, Model | None] = {}
        self.errors: dict[str, str] = {}
        self.deleted: list[str] = []

    def __call__(self, model_id: str) -> Model | None:
        """The model of a version; None if it cannot be loaded, so that it decides nothing."""
        if model_id not in self._models:
            self._models[model_id] = self._load(model_id)
        return self._models[model_id]

    def newest(self, versions: Iterable[Version]) -> tuple[str | None, Model | None]:
        """Id and model of the last of these versions that can be loaded."""
        pairs = ((version.model_id, self(version.model_id)) for version in reversed([*versions]))
        return next((pair for pair in pairs if pair[1] is not None), (None, None))

    def _load(self, model_id: str) -> Model | None:
        try:
            model = self.load_or_raise(model_id)
        except RegistryError as error:
            if isinstance(error, VersionDeleted):
                self.deleted.append(model_id)
            self._ignore(model_id, str(error))
            return None
        if broken := non_finite_weights(model):
            self._ignore(model_id, f"version {model_id}: {'; '.join(broken)}")
            return None
        return model

    def _ignore(self, model_id: str, reason: str) -> None:
        self.errors[model_id] = reason
        self._log(f"{reason}; it decides nothing")
