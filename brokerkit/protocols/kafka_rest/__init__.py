"""Kept topics over HTTP: KastleX's API, brokerkit's own, Confluent's, and a page to look at, on one port."""
