"""Retraining inside the week: sensors, triggers, budget and the policy in force."""
