"""Use cases: ingest, train, evaluate, decide, watch, clean up. No Dagster; each can be called from a notebook."""
