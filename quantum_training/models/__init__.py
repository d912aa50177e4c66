"""The zoo: one algorithm family per file behind the contract of contract.py. No I/O beyond save/load, no dagster."""
