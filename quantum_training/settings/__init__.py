"""Typed settings from YAML and environment, and the policies that only the settings hold."""

from quantum_training.settings.loading import environment, load_settings
from quantum_training.settings.settings import Settings, config_path

__all__ = ["Settings", "config_path", "environment", "load_settings"]
