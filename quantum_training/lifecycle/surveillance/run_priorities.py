"""Who goes first where runs wait in the queue: the larger number. A run without a priority has 0."""

from __future__ import annotations

from quantum_training.monitoring.severity import Severity

PEOPLE = 100
"""What a person decides: promote, demote, pin, ceilings. Seconds."""


MARKET = 90
"""Market data, signals, drift and decay reports: short, and what everything else waits for."""


MANUAL = 60


BY_SEVERITY = {Severity.CRITICAL: 50, Severity.SEVERE: 40, Severity.MODERATE: 25}


DECAY = 30


INTERVAL = 20


WEEKLY = 10
