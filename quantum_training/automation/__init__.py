"""Jobs and schedules: what starts the assets."""
