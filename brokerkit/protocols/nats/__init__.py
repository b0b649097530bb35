"""NATS: the core client protocol."""
