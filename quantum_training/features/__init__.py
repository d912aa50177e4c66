"""Causal features, labels with the time at which they become known, and purged training windows. No I/O, no dagster."""
