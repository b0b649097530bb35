"""The system account: what nats-server answers and tells there, answered and told by brokerkit."""
