"""Software-defined assets, thin, one module per stage in the order data flows."""
