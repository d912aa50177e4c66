"""Alerts: their text, their storage and their delivery. What is wrong is detected in automation/failures."""
