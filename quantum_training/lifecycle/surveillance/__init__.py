"""Drift and decay reports, and what calls for retraining."""
