"""What clients may start: a run of one of Dagster's jobs for each. The jobs do the work and write the ledger."""
