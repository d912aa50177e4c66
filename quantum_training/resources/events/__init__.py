"""The event bus: payloads, the queues (table, redis_stream), and outbox, inbox and bus over them."""
