"""For tests of protocols and of programs that embed a broker: a whole broker in memory, and the promises of a protocol.

``MemoryBroker`` runs on Twisted's test reactor and clock: no port, no thread, no sleep.  ``ProtocolContract`` is a
set of tests that any stream protocol has to pass; subclass it together with ``unittest.TestCase`` or trial's.
"""

from brokerkit.testing.chunking import every_chunking
from brokerkit.testing.contract import ProtocolContract
from brokerkit.testing.memory import Client, MemoryBroker, Peer

__all__ = ["Client", "MemoryBroker", "Peer", "ProtocolContract", "every_chunking"]
