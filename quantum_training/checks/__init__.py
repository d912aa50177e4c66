"""Asset checks, one module per subject. The rules live in market, monitoring and selection."""
