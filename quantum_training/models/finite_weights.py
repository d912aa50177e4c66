"""Whether the weights of an agent are numbers: a fit that diverged leaves NaN or infinity in them."""

import numpy as np

from quantum_training.models.agent import Agent
from quantum_training.models.contract import Model


def non_finite_weights(model: Model) -> list[str]:
    """A sentence for each array of weights that holds NaN or infinity. Models that are no agents have none."""
    return [
        f"{count} of the {value.size} numbers of {name} are NaN or infinite; train the partition again with a lower "
        "learning_rate"
        for name, value in (model.state.items() if isinstance(model, Agent) else ())
        if (count := int((~np.isfinite(value)).sum()))
    ]
