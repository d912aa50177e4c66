"""Typed settings from YAML and environment, and the policies that are only settings."""
