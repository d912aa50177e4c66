"""Scoring, backtesting and examining versions."""
