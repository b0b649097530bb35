"""What nats-server tells of itself, told of brokerkit: over HTTP, and in the system account."""
