"""Looking at a source before a backfill: what it gives, what the gate would say, and which settings fit a file."""
