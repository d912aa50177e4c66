"""Where and in which order runs and steps are executed."""
