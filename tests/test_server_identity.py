"""Whose certificate a client takes: in memory, both sides by Twisted."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from service_identity import CertificateError, VerificationError
from twisted.internet import ssl
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from brokerkit.server_identity import Named
from tests.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 10  # flights of a handshake


class Side(Protocol):
    """Notes what comes and why it ended."""

    heard = b""
    why: BaseException | None = None

    def dataReceived(self, data: bytes) -> None:
        """Note it."""
        self.heard += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Note it."""
        assert reason is not None
        self.why = reason.value


def shake_hands(client: Any, directory: Path, file: str) -> Side:
    """Connect to a server with that certificate, which says hello; give the client's side."""
    pair = (directory / f"{file}.key").read_bytes() + (directory / f"{file}.crt").read_bytes()
    sides, clock = [], Clock()
    for options, is_client in ((ssl.PrivateCertificate.loadPEM(pair).options(), False), (client, True)):
        factory = TLSMemoryBIOFactory(options, is_client, Factory.forProtocol(Side), clock=clock)
        side = factory.buildProtocol(None)
        transport = StringTransport()
        transport.abortConnection = transport.loseConnection
        side.makeConnection(transport)
        sides.append((side, transport))
    sides[0][0].write(b"hello")
    for _ in range(ROUNDS):
        clock.advance(1)
        for (_, here), (there, _) in (sides, sides[::-1]):
            said = here.value()
            here.clear()
            if said:
                there.dataReceived(said)
    client_side, _ = sides[1]
    answer: Side = client_side.wrappedProtocol
    client_side.connectionLost(Failure(ConnectionDone()))
    return answer


def certificate(authority: Authority) -> ssl.Certificate:
    """Give that of an authority as Twisted has it."""
    return ssl.Certificate.loadPEM((authority.directory / authority.path).read_bytes())


@pytest.mark.parametrize(
    ("name", "alternatives", "common", "taken"),
    [
        ("broker.example", [x509.DNSName("broker.example")], "", True),
        ("127.0.0.1", [x509.IPAddress(ip_address("127.0.0.1"))], "", True),
        ("broker.example", [x509.DNSName("other.example")], "broker.example", False),
        ("127.0.0.1", [x509.DNSName("127.0.0.1")], "", False),
        ("broker.example", [x509.RFC822Name("broker.example")], "broker.example", False),
        ("broker.example", [], "broker.example", False),
        ("127.0.0.1", [], "127.0.0.1", False),
    ],
)
def test_the_name(tmp_path: Path, name: str, alternatives: list[x509.GeneralName], common: str, taken: bool) -> None:
    """What an authority has signed counts if one of the alternative names is the one; without any it never does."""
    authority = Authority(tmp_path)
    authority.issue("server", common, alternatives)
    side = shake_hands(Named(name, [certificate(authority)]), tmp_path, "server")
    assert side.heard == (b"hello" if taken else b"")
    assert taken or isinstance(side.why, CertificateError | VerificationError)


@pytest.mark.parametrize(("name", "taken"), [("localhost", True), ("LOCALHOST", True), ("other.example", False)])
def test_a_certificate_that_was_given(tmp_path: Path, name: str, taken: bool) -> None:
    """One that signed itself, without alternative names, counts for its common name where it was given as trusted."""
    given = Authority(tmp_path, "localhost")
    key = given._key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "localhost.key").write_bytes(key)
    side = shake_hands(Named(name, [certificate(given)]), tmp_path, "localhost")
    assert side.heard == (b"hello" if taken else b"")


def test_a_stranger(tmp_path: Path) -> None:
    """The name alone is nothing: another authority's certificate is refused by OpenSSL."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    other.issue("server", "", [x509.DNSName("broker.example")])
    side = shake_hands(Named("broker.example", [certificate(Authority(tmp_path))]), other.directory, "server")
    assert side.heard == b""
    assert "certificate verify failed" in str(side.why)
