"""The one accounting: costs, simulator, baselines and metrics. No I/O, no dagster."""
