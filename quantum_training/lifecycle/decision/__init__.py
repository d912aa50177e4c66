"""Who trades, with how much capital, and the signal that follows."""
