"""Read models: what the service answers, made from store, ledger, events and Dagster's runs. Only reads."""
