"""Do store, ledger, registry and settings belong together? Each module compares two of them and changes nothing."""
