"""What the generator needs to know of a protocol: how to build frames beforehand, and little else.

Readers never parse. They know beforehand how long every delivery is and count bytes. What a broker
says between two messages (a NATS PING) has one known length, so it can be told from a lost message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from socket import socket


class BenchError(Exception):
    """A measurement that cannot be trusted: lost or unexpected bytes, a refusal, a timeout."""


class Speech(Protocol):
    """One user of one protocol, as bytes.  All topics stand beneath a prefix that only the speech knows."""

    aside: int
    """Length of what the broker may say between two messages, in bytes; 0 for nothing."""

    def secure(self, sock: socket) -> socket:
        """Return the socket to go on with: this one, or TLS over it."""

    def login(self, sock: socket) -> None:
        """Log in over a socket that has a timeout; raise BenchError when refused."""

    def subscribe(self, topic: bytes, number: int, queue: bytes = b"") -> bytes:
        """Return the frame that subscribes to a topic, as subscription *number*, perhaps in a queue group."""

    def publish(self, topic: bytes, payload: bytes) -> bytes:
        """Return the frame that publishes."""

    def delivery(self, topic: bytes, number: int, payload: bytes) -> bytes:
        """Return the frame that subscription *number* gets of what this user published."""

    def answer(self, heard: bytes) -> bytes:
        """Return the answer to something besides messages; raise BenchError if it was an error."""


def beneath(prefix: str) -> bytes:
    """Return what stands before each topic."""
    return prefix.encode() + b"." if prefix else b""
