"""Keeps the models that a run used last in memory, so that consecutive weeks do not load the same version again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from quantum_training.models.contract import Model

MODEL_CACHE_SIZE = 32
"""Models per run. Networks are small, and a loaded agent comes without its replay buffer."""


class ModelCache:
    """Models by symbol and model id; the one that was used longest ago makes room for a new one."""

    def __init__(self, size: int = MODEL_CACHE_SIZE):
        self.size = size
        self._models: OrderedDict[tuple[str, str], Model] = OrderedDict()

    def load(self, symbol: str, model_id: str, load: Callable[[str, str], Model]) -> Model:
        """The model from memory, else from `load(symbol, model_id)`, whose errors pass."""
        model = self._models.get((symbol, model_id)) or load(symbol, model_id)
        self.add(symbol, model_id, model)
        return model

    def add(self, symbol: str, model_id: str, model: Model) -> None:
        """Keep a model as the one that was used last."""
        self._models[symbol, model_id] = model
        self._models.move_to_end((symbol, model_id))
        while len(self._models) > self.size:
            self._models.popitem(last=False)
