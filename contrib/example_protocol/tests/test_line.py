"""The line protocol keeps what every protocol promises, and its own words are these."""

from twisted.trial.unittest import SynchronousTestCase

from brokerkit.testing import MemoryBroker, ProtocolContract


class LineContractTest(ProtocolContract, SynchronousTestCase):
    """The promises of every stream protocol."""

    protocol = "line"
    nonsense = (
        b"\n",
        b"login\n",
        b"login ann\n",
        b"sub\n",
        b"sub a b\n",
        b"sub a..b\n",
        b"pub x\n",
        b"pub  5\nhello",
        b"pub x -1\n",
        b"pub x 99999999999\n",
        b"quit\n",
        b"PUB x 5\nhello",
    )
    endless = b"pub "
    hostile = (b"a 2\nhi" + b"msg forged 2\nhi", b"a 0\nok", b"\n")


def test_a_conversation() -> None:
    """A login is answered, a message is spelled with its size, and no newline is lost or added."""
    peer = MemoryBroker().connect("line")
    peer.send(b"login ann ann's secret\nsub weather.*\npub weather.rain 4\nwet\n")
    assert peer.take() == b"ok\nmsg weather.rain 4\nwet\n"


def test_before_the_login() -> None:
    """Who does not log in first is told so, and then hung up on."""
    memory = MemoryBroker()
    peer = memory.connect("line")
    peer.send(b"sub weather\n")
    memory.advance()
    assert (peer.take(), peer.closed) == (b"error log in first\n", True)


def test_a_pattern_that_is_none() -> None:
    """It is answered, and the connection stays."""
    peer = MemoryBroker().connect("line")
    peer.send(b"login ann ann's secret\nsub a.>.b\nsub a\npub a 1\n1")
    assert peer.take() == b"ok\nerror b'a.>.b' is not a pattern\nmsg a 1\n1"
