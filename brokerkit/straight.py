"""Writing to a TCP socket at once, and not when the reactor comes by the next time.

Twisted keeps what is written until its loop has seen that the socket has room, which costs several system calls and a
round of the loop for each answer.  A socket that nothing waits for nearly always has room.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.tcp import Connection


class Straight:
    """A TCP transport, in every way but that ``write`` gives the kernel at once what it takes."""

    def __init__(self, transport: Connection) -> None:
        """Write to that one."""
        self._transport = transport
        self._send = transport.writeSomeData

    def write(self, data: bytes) -> None:
        """Write; what the kernel does not take now waits in the transport, as all does behind which it would come."""
        transport: Any = self._transport
        if transport.connected and not transport.dataBuffer and not transport._tempDataBuffer:  # noqa: SLF001  nothing else says it
            taken = self._send(data)
            if taken == len(data):
                return
            if taken.__class__ is int:  # otherwise it is lost: the reactor finds out when it looks
                data = data[taken:]
        transport.write(data)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the transport has
        """Be the transport in everything else."""
        return getattr(self._transport, name)


def straight(transport: Any) -> Any:  # noqa: ANN401  any transport
    """Give what writes to a transport at once; any that is no TCP socket is given back as it is."""
    return Straight(transport) if isinstance(transport, Connection) and not transport.TLS else transport
