"""Feature sets of one's own: what the settings say of them, and how their columns are computed."""
