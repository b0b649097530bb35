"""NATS keeps the promises of every stream protocol."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from brokerkit.testing import ProtocolContract


class NatsContractTest(ProtocolContract, SynchronousTestCase):
    """Nonsense in lines, and a line without an end."""

    protocol = "nats"
    nonsense = (
        b"\x00" * 64,
        b"\xff" * 64,
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PUB\r\n",
        b"PUB contract.test\r\n",
        b"PUB contract.test -1\r\n",
        b"PUB contract.test 9999999999\r\n",
        b"PUB contract.test 5\r\nhello, world\r\n",
        b"HPUB contract.test 9 5\r\nhello\r\n",
        b"SUB\r\n",
        b"SUB a b c d\r\n",
        b"SUB a.>.b 1\r\n",
        b"SUB .. 1\r\n",
        b"UNSUB\r\n",
        b"CONNECT {\r\n",
        b"CONNECT []\r\n",
        b"CONNECT " + b"[" * 2000 + b"\r\n",
        b"INFO {\r\n",
        b"-ERR 'yours'\r\n",
    )
    endless = b"PUB " + b"x" * 1020
    hostile = (b"a 1 2\r\nhi\r\nMSG forged", b"a\x0bb", b"a\x0cb", b"a\rb", b"\xc2\xa0", b"\x7f")
