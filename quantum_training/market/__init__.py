"""What a candle is, when a market trades, and which candles are refused. No I/O, no dagster."""
