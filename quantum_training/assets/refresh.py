"""The refresh gate of the assets `<recipe>_model`, and its check. What is refused, and why: selection.refresh."""
