"""Statistics that watch models and data: drift, decay and leakage. The asset checks are in checks/."""
