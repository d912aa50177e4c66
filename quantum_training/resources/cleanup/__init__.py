"""Removal of old files and versions, and how much was removed."""
