"""What people see of a partition in the Dagster UI: one module per asset family."""
