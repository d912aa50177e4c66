"""Training versions: what a version is fitted on, when, and whether it may take over."""
