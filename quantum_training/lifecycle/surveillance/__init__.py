"""Watching drift and decay, and what calls for retraining."""
