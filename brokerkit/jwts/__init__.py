"""NATS' JWTs: an operator vouches for accounts, an account for its users; what each may do stands in its token."""
