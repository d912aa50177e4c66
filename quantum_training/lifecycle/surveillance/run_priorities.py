"""Priorities of runs, the larger first; 0 without one. The tag is set in automation/execution/priorities.py."""

from __future__ import annotations

from quantum_training.monitoring.severity import Severity

PEOPLE = 100
"""Actions of people: promote, demote, pin, ceilings. They take seconds."""

MARKET = 90
"""Market data, signals, drift and decay reports: short, and everything else waits for them."""

MANUAL = 60
"""Retraining at the request of a person."""

BY_SEVERITY = {Severity.CRITICAL: 50, Severity.SEVERE: 40, Severity.MODERATE: 25}
"""Retraining for drift."""

DECAY = 30
"""Retraining for decay."""

INTERVAL = 20
"""Retraining after so many bars or minutes."""

WEEKLY = 10
"""The weekly refresh."""
