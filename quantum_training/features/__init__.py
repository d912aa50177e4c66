"""Causal features, labels with the time they are known, and purged training windows. No I/O, no dagster."""
