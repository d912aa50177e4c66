"""Who may ask, how often, and how much: keys with roles, rate limits, bounds on requests, headers of answers."""
