"""quantum_training keeps trading models honest and fresh: a backfill is a walk-forward.

Nothing is imported here. Telemetry of the libraries underneath is off unless the operator switched it on.
"""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
