"""The HTTP service: reads what the lifecycle has recorded, and starts Dagster's runs. It trains nothing itself."""
