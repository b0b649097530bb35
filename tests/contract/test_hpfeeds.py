"""hpfeeds keeps the promises of every stream protocol."""

from __future__ import annotations

from struct import pack

from twisted.trial.unittest import SynchronousTestCase

from brokerkit.protocols.hpfeeds import wire
from brokerkit.testing import ProtocolContract


class HpfeedsContractTest(ProtocolContract, SynchronousTestCase):
    """Nonsense in frames, and frames that say they are longer than any may be."""

    protocol = "hpfeeds"
    nonsense = (
        b"\x00" * 64,
        b"\xff" * 64,
        b"GET / HTTP/1.1\r\n\r\n",
        pack("!iB", -1, wire.PUBLISH),
        pack("!iB", 0, wire.PUBLISH),
        pack("!iB", 5, wire.PUBLISH),
        pack("!iB", wire.MAX_PUBLISH + 1, wire.PUBLISH),
        wire.frame(6, b"no such opcode"),
        wire.frame(wire.AUTH, b""),
        wire.frame(wire.SUBSCRIBE, b""),
        wire.frame(wire.PUBLISH, b"\x03ann", b"\xff\xff"),
        wire.spell(wire.Publish(b"bob", b"contract.test", b"in another's name")),
        wire.spell(wire.Publish(b"\xff", b"\xfe", b"not text")),
        wire.spell(wire.Info(b"a broker", b"1234")),
        wire.spell(wire.Error(b"yours")),
    )
    endless = pack("!iB", wire.MAX_PUBLISH, wire.PUBLISH) + b"\x03bob" + b"x" * 1015
    hostile = (wire.spell(wire.Publish(b"ann", b"forged", b"hi")), b"\xff", b"x" * 255, b"x" * 256)
