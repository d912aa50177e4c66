"""Canary: on a random walk nothing can be learnt, so any skill outside the window is a leak.

The shuffled split beside it shows the skill that a leak would give, so the canary can fail.
"""

import numpy as np
import pytest

from quantum_training.features.indicators import FEATURES, WARMUP_BARS, compute_features
from quantum_training.features.labels import ForwardReturn, TripleBarrier, make_labels
from quantum_training.features.windows import WindowSize, build_window

SEEDS = 40
TRAIN, TEST = 1000, 400
HORIZON = 24


def skill(x, y, new_x, new_y, seed):
    """Correlation of a forest's probability with the outcome on rows that it was not trained on."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(15, min_samples_leaf=5, random_state=seed, n_jobs=1).fit(x, y)
    return np.corrcoef(forest.predict_proba(new_x)[:, 1], new_y)[0, 1]


@pytest.mark.long
@pytest.mark.parametrize(
    "label",
    [
        ForwardReturn(kind="forward_return", horizon=HORIZON),
        TripleBarrier(kind="triple_barrier", horizon=HORIZON, take_profit=1, stop_loss=1, volatility_bars=50),
    ],
    ids=lambda label: label.kind,
)
def test_nothing_is_learnt_from_a_random_walk(make_candles, label):
    honest, shuffled = [], []
    for seed in range(SEEDS):
        candles = make_candles(WARMUP_BARS + TRAIN + TEST + 2 * HORIZON, seed=1000 + seed)
        features = compute_features(candles, candles.index[WARMUP_BARS])
        labels = make_labels(candles, label, 0.0)
        as_of = candles.index[WARMUP_BARS + TRAIN + HORIZON]
        window = build_window(
            features,
            labels,
            as_of=as_of,
            columns=FEATURES,
            size=WindowSize(max_rows=TRAIN, validation_fraction=0.2, min_rows=100),
        )
        complete = labels["label"].notna() & (labels.index >= as_of)
        new = labels.index[complete][:TEST]
        honest.append(skill(window.full_x, window.full_y, features.loc[new].to_numpy(), labels["label"][new], seed))

        rows = np.random.default_rng(seed).permutation(len(window.full_y))
        train, test = np.split(rows, [len(rows) // 2])
        x, y = window.full_x, window.full_y
        shuffled.append(skill(x[train], y[train], x[test], y[test], seed))
    print(f"{label.kind}: IC outside the window {np.mean(honest):+.3f} +- {np.std(honest) / SEEDS**0.5:.3f}, ", end="")
    print(f"shuffled {np.mean(shuffled):+.3f}")
    assert np.mean(honest) <= 0.05
    assert np.mean(shuffled) > 0.3
