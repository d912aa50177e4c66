"""The Parquet store of frames and records."""
