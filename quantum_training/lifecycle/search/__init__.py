"""Hyper-parameter searches whose trials are counted: space, objective, study, what it found. No dagster."""
