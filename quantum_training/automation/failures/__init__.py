"""What follows when a run fails: alerts, remedies, retries of runs and the end of dead ones."""
