"""XGBoost, whose fits kill their process while the file that MORTAL names exists."""

import os
import signal
from pathlib import Path

from quantum_training.models.contract import TrainingContext
from quantum_training.models.xgboost import Model as XGBoost

VARIABLE = "MORTAL"


class Model(XGBoost):
    """Mortal where the variable says so; else XGBoost."""

    @classmethod
    def fit(cls, context: TrainingContext) -> "Model":
        if Path(os.environ[VARIABLE]).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(context)
