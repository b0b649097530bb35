"""Endpoint strings: what is taken, what is refused and how, and what the kernel is told about the sockets."""

from __future__ import annotations

import errno
import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import reactor, ssl
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    connectProtocol,
    wrapClientTLS,
)
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.wire import Echo
from twisted.trial.unittest import TestCase

from brokerkit.endpoints import explain_bind_failure, server_endpoint, tune, where_bound
from brokerkit.errors import ConfigError
from brokerkit.tls_layer import LayerFactory

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = b"the password of a key"


def listening(text: str) -> tuple[Any, ...]:
    """Listen in memory, and give what the reactor was asked for, without the factory and the certificates."""
    memory = MemoryReactorClock()
    server_endpoint(text, memory, "nats").listen(Factory())
    if memory.unixServers:
        return ("unix", memory.unixServers[0][0])
    port, factory, *_, interface = memory.tcpServers[0]
    return "tls" if isinstance(factory, LayerFactory) else "tcp", port, interface


def complaint(text: str) -> str:
    """Give the one line that an endpoint is refused with."""
    memory = MemoryReactorClock()
    with pytest.raises(ConfigError) as caught:
        server_endpoint(text, memory, "broker.toml: listen[0]")
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(f"broker.toml: listen[0]: endpoint: found {text!r}, expected ")
    assert not [*memory.tcpServers, *memory.sslServers, *memory.unixServers]
    return said


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Make a key, a locked key and certificates; give the path of each by its file's name."""
    directory = tmp_path_factory.mktemp("pem")
    write_certificates(directory)
    return lambda name: str(directory / name)


def write_certificates(directory: Path) -> None:
    """Write own.key, own.crt and other.key, other.crt, and locked.key, which has a password."""
    none = serialization.NoEncryption()
    for name in ("own", "other"):
        key = ec.generate_private_key(ec.SECP256R1())
        (directory / f"{name}.crt").write_bytes(certificate(name, key).public_bytes(serialization.Encoding.PEM))
        (directory / f"{name}.key").write_bytes(spell(key, none))
    (directory / "locked.key").write_bytes(spell(key, serialization.BestAvailableEncryption(SECRET)))
    chain = (directory / "own.crt").read_bytes() + (directory / "other.crt").read_bytes()
    (directory / "chain.crt").write_bytes(chain)


def spell(key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    """Give a key as PEM."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def certificate(name: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Sign a certificate for localhost with its own key."""
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )


# -- what is taken ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp:port=10000", ("tcp", 10000, "")),
        ("tcp:port=10000:interface=127.0.0.1", ("tcp", 10000, "127.0.0.1")),
        ("tcp:interface=127.0.0.1:port=0", ("tcp", 0, "127.0.0.1")),
        ("tcp:10000", ("tcp", 10000, "")),
        ("tcp:10000:interface=127.0.0.1", ("tcp", 10000, "127.0.0.1")),
        ("tcp:10000:127.0.0.1:backlog=5", ("tcp", 10000, "127.0.0.1")),
        (r"tcp:port=10000:interface=\:\:1", ("tcp", 10000, "::1")),
        (r"tcp:10000:interface=\:\:1", ("tcp", 10000, "::1")),
        ("tcp6:10000", ("tcp", 10000, "::")),
        (r"tcp6:port=10000:interface=\:\:1", ("tcp", 10000, "::1")),
        ("tcp:port=10000:interface=::1", ("tcp", 10000, "::1")),
        ("tcp:interface=[::1]:port=10000", ("tcp", 10000, "::1")),
        ("tcp:10000:interface=::", ("tcp", 10000, "::")),
        ("tcp:interface=fe80::1%eth0:port=4222", ("tcp", 4222, "fe80::1%eth0")),
        ("tcp:port=10000:mode=push:networks=10.0.0.0/8,::1:interface=::1", ("tcp", 10000, "::1")),
        ("haproxy:tcp:10000:mode=pull", ("tcp", 10000, "")),
        ("unix:/run/broker.sock:mode=660:mode=push", ("unix", "/run/broker.sock")),
        ("haproxy:tcp:10000", ("tcp", 10000, "")),
        ("unix:/run/broker.sock:mode=660", ("unix", "/run/broker.sock")),
        (r"unix:address=/run/a\:b\=c\\d", ("unix", r"/run/a:b=c\d")),
        (r"unix:/run/a\=b", ("unix", "/run/a=b")),
    ],
)
def test_both_grammars_are_read(text: str, expected: tuple[Any, ...]) -> None:
    """The forms of the original hpfeeds broker and of Twisted lead to the same sockets."""
    assert listening(text) == expected


def test_tls_as_hpfeeds_writes_it(pem: Callable[[str], str]) -> None:
    """With port= among keywords, tls: is a key and a certificate, on every address unless an interface is given."""
    files = f"key={pem('own.key')}:cert={pem('own.crt')}"
    assert listening(f"tls:port=10000:{files}") == ("tls", 10000, "0.0.0.0")  # noqa: S104
    assert listening(f"tls:{files}:port=10000:interface=127.0.0.1") == ("tls", 10000, "127.0.0.1")
    assert listening(rf"tls:port=10000:{files}:chain={pem('other.crt')}:interface=\:\:1") == ("tls", 10000, "::1")


def test_tls_keys_have_hpfeeds_default_names(
    pem: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without key= and cert= they are key.pem and cert.pem in the working directory."""
    monkeypatch.chdir(tmp_path)
    assert complaint("tls:port=0").endswith("/cert.pem: No such file or directory)")
    for source, name in (("own.key", "key.pem"), ("own.crt", "cert.pem")):
        Path(name).write_bytes(Path(pem(source)).read_bytes())
    assert listening("tls:port=0") == ("tls", 0, "0.0.0.0")  # noqa: S104


def test_tls_and_ssl_as_twisted_writes_them(pem: Callable[[str], str]) -> None:
    """The forms with a directory of certificates, and with privateKey and certKey, are Twisted's own."""
    assert listening(f"ssl:10000:privateKey={pem('own.key')}:certKey={pem('own.crt')}") == ("tls", 10000, "")
    directory = Path(pem("own.key")).parent / "served"
    directory.mkdir(exist_ok=True)
    (directory / "localhost.pem").write_text(Path(pem("own.key")).read_text() + Path(pem("own.crt")).read_text())
    assert listening(f"tls:{directory}:10000") == ("tls", 10000, "::")
    assert listening(f"tls:path={directory}:port=10000") == ("tls", 10000, "::")


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # types
        ("", "for example tcp:port=4222"),
        ("4222", "did you mean tcp:port=4222?"),
        (":4222", "did you mean tcp:port=4222?"),
        ("0.0.0.0:4222", "did you mean tcp:port=4222:interface=0.0.0.0?"),
        ("ssll:4222", "expected a type of endpoint: tcp, tcp6, ssl, tls, unix, systemd"),
        ("ssll:4222", "did you mean ssl?"),
        ("TCP:4222", "did you mean tcp?"),
        ("onion:80", "for example tcp:port=4222"),
        # ports
        ("tcp", "expected tcp: with port="),
        ("tcp:interface=127.0.0.1", "for example tcp:port=4222:interface=127.0.0.1"),
        ("tls:key=a:cert=b", "for example tls:port=10000:key=broker.key:cert=broker.crt"),
        ("tcp:port=", "expected tcp: with port="),
        ("tcp:port=x", "expected port as a whole number from 0 to 65535 ('x' is none)"),
        ("tcp:port=-1", "'-1' is none"),
        ("tcp:65536", "'65536' is none"),
        ("tcp:port= 80", "' 80' is none"),
        ("tcp:port=1_0", "'1_0' is none"),
        ("tcp:port=٤", "'٤' is none"),
        ("tcp:port=1\n2", "is none"),
        ("tls:port=99999:key=a:cert=b", "'99999' is none"),
        ("ssl:x", "'x' is none"),
        ("tcp:80:backlog=many", "backlog as a whole number"),
        ("tcp:port=1:port=2", "expected port once"),
        ("tcp:1:port=2", "expected port once"),
        # colons
        ("tcp:port=1:interface=::g", r"interface=\:\:1"),
        ("tcp:1:interface=10.0.0.1::", r"interface=\:\:1"),
        ("tcp:interface=::1:4222", "expected tcp: with port="),  # could be part of the address, so it is
        ("tcp:1:2:3:4", "tcp: with at most 3 values"),
        ("tcp:port=1\\", "behind the last backslash"),
        # keywords
        ("tcp:port=1:prt=2", "did you mean port?"),
        ("tcp:port=1:zzz=2", "tcp: does not know zzz="),
        ("tcp:port=1:device=a/b", "expected device as the name of a network interface"),
        ("tls:port=1:device=" + "x" * 16, "a name has 1 to 15 bytes"),
        ("unix:/run/x:device=lan0", "expected keywords out of address, mode, backlog, lockfile, networks"),
        ("tcp:port=1:devise=lan0", "expected keywords out of port, interface, backlog, device, mode, networks"),
        ("tcp:port=1:mode=psh", "expected mode as one of both, push, pull ('psh' is none)"),
        ("tcp:port=1:mode=push:mode=pull", "expected mode once"),
        ("tcp:port=1:networks=10.0.0.1/8", "expected networks such as 10.0.0.0/8,::1"),
        ("tcp:port=1:key=a:cert=b", "key= is for tls:, tcp: would be plain text"),
        ("tls:10000:key=a:cert=b", "the port is written port="),
        ("ssl:1:privatKey=a", "expected keywords out of port, privateKey, certKey"),
        # files
        ("tls:port=1:key=/none.key:cert=/none.crt", "/none.crt: No such file or directory"),
        ("ssl:1:privateKey=/none.pem", "/none.pem: No such file or directory"),
        ("tls:/none", "expected a directory of certificates (/none is none)"),
        # what else Twisted would raise
        ("unix:", "expected unix: with address= (for example unix:/run/broker.sock)"),
        ("unix:/run/a:mode=9", "expected a usable unix: endpoint (invalid literal"),
        ("haproxy:tcp:port=1:key=1", "expected a usable haproxy: endpoint"),
        ("systemd:domain=INET:index=0", "expected a socket that systemd has handed over"),
        ("systemd:domain=INET:name=nats", "expected a socket that systemd has handed over"),
        ("systemd:domain=INET", "exactly one of descriptor index or name"),
    ],
)
def test_a_slip_is_one_line(text: str, expected: str) -> None:
    """Nothing is guessed, nothing listens: the line names the place, the string, what is wrong and what would do."""
    assert expected in complaint(text)


@pytest.mark.parametrize(
    ("key", "cert", "expected"),
    [
        ("other.key", "own.crt", "expected a key and a certificate that belong together"),
        ("locked.key", "other.crt", "expected a private key without a password in PEM"),
        ("own.crt", "own.crt", "expected a private key without a password in PEM"),
        ("own.key", "own.key", "expected a certificate in PEM"),
    ],
)
def test_a_wrong_key_or_certificate_is_refused(pem: Callable[[str], str], key: str, cert: str, expected: str) -> None:
    """What is in the files is looked at before anything listens, and nobody is asked for a password."""
    assert expected in complaint(f"tls:port=0:key={pem(key)}:cert={pem(cert)}")


def test_a_wrong_pair_for_ssl_is_refused_too(pem: Callable[[str], str]) -> None:
    """Twisted's own complaint becomes one line as well."""
    assert "do not match" in complaint(f"ssl:0:privateKey={pem('other.key')}:certKey={pem('own.crt')}")


# -- sockets ------------------------------------------------------------------------------------------------------


class OnSockets(TestCase):
    """What only the kernel can answer; each port is one that the system chooses."""

    timeout = 10

    def listen(self, text: str, protocol: type[Protocol] = Protocol) -> Any:
        """Listen, until the test is over."""
        port = self.successResultOf(server_endpoint(text, reactor, "nats").listen(Factory.forProtocol(protocol)))
        self.addCleanup(port.stopListening)
        return port

    def directory(self) -> Path:
        """Give a directory with a short name, for a unix socket's path has 107 bytes at the most."""
        made = TemporaryDirectory()
        self.addCleanup(made.cleanup)
        return Path(made.name)

    def refusal(self, text: str) -> str:
        """Give the line that explains why this cannot be listened on."""
        listening = server_endpoint(text, reactor, "nats").listen(Factory())
        failure = self.failureResultOf(listening)  # type: ignore[no-untyped-call]
        return explain_bind_failure(failure.value, text)

    def accepted(self, port: Any) -> socket.socket:
        """Connect to a port, and give the socket that the kernel made for it there."""
        caller = socket.create_connection(port.socket.getsockname()[:2], timeout=5)
        self.addCleanup(caller.close)
        port.socket.settimeout(5)
        made: socket.socket = port.socket.accept()[0]
        port.socket.setblocking(False)
        self.addCleanup(made.close)
        return made

    def test_accepted_sockets_inherit_what_is_tuned(self) -> None:
        """No delay, keepalives after 10 s every 5 s three times, and no more than 128 KiB unsent in the kernel."""
        port = self.listen("tcp:port=0:interface=127.0.0.1")
        tune(port)
        made = self.accepted(port)
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if sys.platform == "linux":
            options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, 25)
            assert [made.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [10, 5, 3, 128 * 1024]

    def test_a_constant_that_is_missing_is_passed_over(self) -> None:
        """Where the socket module lacks a name, the rest is set all the same."""
        for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"):
            if hasattr(socket, name):
                constant = getattr(socket, name)
                delattr(socket, name)
                self.addCleanup(setattr, socket, name, constant)
        port = self.listen("tcp:port=0:interface=127.0.0.1")
        tune(port)
        assert self.accepted(port).getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    def test_a_unix_socket_is_left_alone(self) -> None:
        """There is nothing to tune, and its address is its path."""
        path = f"{self.directory()}/x"
        port = self.listen(f"unix:{path}")
        tune(port)
        assert where_bound(port) == f"unix:{path}"
        assert self.refusal(f"unix:{path}").startswith(f"unix socket {path} is in use (unix:{path}): ")

    def test_addresses_as_they_are_printed(self) -> None:
        """IPv6 stands in brackets."""
        port = self.listen("tcp:port=0:interface=127.0.0.1")
        assert where_bound(port) == f"127.0.0.1:{port.getHost().port}"
        if socket.has_ipv6 and has_ipv6_loopback():
            port = self.listen(r"tcp:port=0:interface=\:\:1")
            assert where_bound(port) == f"[::1]:{port.getHost().port}"

    def test_a_port_in_use(self) -> None:
        """The line names port, address and endpoint, and says what to do."""
        taken = self.listen("tcp:port=0:interface=127.0.0.1").getHost().port
        text = f"tcp:port={taken}:interface=127.0.0.1"
        expected = f"port {taken} on 127.0.0.1 is in use ({text}): stop the other program or choose another port"
        assert self.refusal(text) == expected
        assert self.refusal(f"tcp:{taken}").startswith(f"port {taken} on every address is in use (tcp:{taken}): ")

    def test_an_address_of_another_machine(self) -> None:
        """An interface that is not here is said to be not here; a name that nobody knows likewise."""
        expected = "this machine has no such address"
        assert expected in self.refusal("tcp:port=0:interface=192.0.2.1")
        assert expected in self.refusal("tcp:port=0:interface=999.0.0.1")

    def test_tls_serves_the_certificate_and_no_plain_text(self) -> Deferred[None]:
        """A client that trusts the certificate is served over TLS 1.2 or later; plain text gets no answer."""
        return Deferred.fromCoroutine(self.speak())

    async def speak(self) -> None:
        """Talk TLS, then plain text."""
        directory = self.directory()
        write_certificates(directory)
        files = f"key={directory}/own.key:cert={directory}/chain.crt"
        port = self.listen(f"tls:port=0:interface=127.0.0.1:{files}", Echo)
        tune(port)
        trust = ssl.Certificate.loadPEM((directory / "own.crt").read_bytes())
        here = HostnameEndpoint(reactor, b"127.0.0.1", port.getHost().port)
        options = ssl.optionsForClientTLS("localhost", trustRoot=trust)
        caller = await connectProtocol(wrapClientTLS(options, here), Caller())
        assert await caller.say(b"hello") == b"hello"
        connection = caller.transport.getHandle()
        assert connection.get_protocol_version_name() in {"TLSv1.2", "TLSv1.3"}
        assert len(connection.get_peer_cert_chain()) == 2
        await caller.leave()
        plain = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), Caller())
        assert await plain.say(b"hello, hello, hello") != b"hello, hello, hello"
        await plain.leave()


class Caller(Protocol):
    """A client that says one thing and waits for the answer, or for the end."""

    def __init__(self) -> None:
        """Have heard nothing."""
        self.heard: Deferred[bytes] | None = None
        self.gone: Deferred[None] = Deferred()

    def say(self, what: bytes) -> Deferred[bytes]:
        """Give what comes back."""
        self.heard = Deferred()
        self.transport.write(what)  # type: ignore[union-attr]
        return self.heard

    def leave(self) -> Deferred[None]:
        """Hang up; done when the connection is gone."""
        self.transport.loseConnection()  # type: ignore[union-attr]
        return self.gone

    def dataReceived(self, data: bytes) -> None:
        """Take the answer."""
        if self.heard is not None:
            heard, self.heard = self.heard, None
            heard.callback(data)

    def connectionLost(self, reason: Any = None) -> None:  # noqa: ARG002  Twisted's
        """Take the end for an answer too."""
        self.dataReceived(b"")
        self.gone.callback(None)


def has_ipv6_loopback() -> bool:
    """Say whether this machine can listen on ::1."""
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


# -- what cannot be had in every test's surroundings ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            CannotListenError("127.0.0.1", 80, OSError(errno.EACCES, "Permission denied")),
            (
                "permission denied for port 80 on 127.0.0.1 (TEXT): "
                "choose a port from 1024 on, or give the program CAP_NET_BIND_SERVICE"
            ),
        ),
        (
            CannotListenError("", 4222, OSError(errno.EACCES, "Permission denied")),
            "port 4222 on every address cannot be listened on (TEXT): Permission denied",
        ),
        (
            CannotListenError(None, b"/run/x", OSError(errno.EACCES, "Permission denied")),
            "unix socket /run/x cannot be listened on (TEXT): Permission denied",
        ),
        (
            OSError(errno.EMFILE, "Too many open files"),
            "the endpoint cannot be listened on (TEXT): Too many open files",
        ),
        (ValueError("two\nlines"), "the endpoint cannot be listened on (TEXT): two lines"),
        (AssertionError(), "the endpoint cannot be listened on (TEXT): AssertionError"),
    ],
)
def test_other_failures_are_one_line_too(error: Exception, expected: str) -> None:
    """Whatever a reactor raises becomes a line with the endpoint in it."""
    assert explain_bind_failure(error, "TEXT") == expected


def test_a_port_without_a_socket_is_left_alone() -> None:
    """A port in memory has nothing to tune, and an address like any other."""
    found: list[Any] = []
    endpoint = server_endpoint("tcp:port=4222:interface=127.0.0.1", MemoryReactorClock(), "nats")
    endpoint.listen(Factory()).addCallback(found.append)
    tune(found[0])
    assert where_bound(found[0]) == "0.0.0.0:4222"  # what a port in memory always says of its interface


def test_whatever_else_a_port_is_bound_to_can_be_printed() -> None:
    """A unix socket without a name, or an address of a kind not known here, is no traceback."""

    class Port:
        def __init__(self, address: object) -> None:
            self.getHost = lambda: address

    assert where_bound(Port(UNIXAddress(None))) == "unix:"  # type: ignore[arg-type]
    assert where_bound(Port("somewhere")) == "somewhere"  # type: ignore[arg-type]
