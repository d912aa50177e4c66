"""The event bus: what is said (payloads), where it waits (table, redis_stream), the resource over both (bus)."""
