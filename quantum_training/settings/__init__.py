"""Typed settings from YAML and environment, and the policies that only the settings hold."""
