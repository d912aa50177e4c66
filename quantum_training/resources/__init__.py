"""What assets talk to: candle sources, the Parquet store and the model registry. Only here is mlflow imported."""
