"""nats-server's configuration file: its language, and what it says in words of ours."""
