"""What the lifecycle found, for people: sentences, the report of a week, its page."""
