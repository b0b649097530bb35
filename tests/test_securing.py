"""TLS that begins in the midst of a connection: who speaks first, what the first byte decides, who is hung up on."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from brokerkit.errors import ConfigError
from brokerkit.testing import MemoryBroker, Peer
from tests.certificates import Authority, TLSPeer, client_context

PORT = 1
HELLO = b'CONNECT {"verbose":false,"pedantic":false,"user":"ann","pass":"ann\'s secret"}\r\nPING\r\n'
PONG = b"PONG\r\n"
BEGUN = b"\x16\x03\x01\x02\x00\x01"  # the first bytes of a handshake


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make an authority, and certificates of a server and of two clients."""
    made = Authority(tmp_path_factory.mktemp("securing"))
    for name in ("server", "ann", "bob"):
        made.issue(name, name)
    return made


def broker(authority: Authority, **keys: object) -> MemoryBroker:
    """Give a broker whose NATS listener has TLS, and these settings."""
    files = f"key={authority.directory}/server.key:cert={authority.directory}/server.crt"
    return MemoryBroker(settings={"nats": {"endpoint": f"tls:port={PORT}:{files}", **keys}})


def said_of_tls(line: bytes) -> set[str]:
    """Give what an INFO says of TLS."""
    assert line.startswith(b"INFO ")
    assert line.count(b"\r\n") == 1
    return {key for key in json.loads(line[5:]) if key.startswith("tls")}


def errors(memory: MemoryBroker) -> dict[str, int]:
    """Give what was counted as wrong."""
    return dict(memory.broker.listener("nats").counts.errors)


def is_closed(peer: Peer, memory: MemoryBroker) -> bool:
    """Say whether the broker hangs up now; it waits a second for the peer to do so too."""
    memory.advance(0)
    memory.advance(1.0)
    return peer.closed and not memory.broker.listener("nats").sessions


# -- after INFO ---------------------------------------------------------------------------------------------------


def test_after_info(authority: Authority) -> None:
    """INFO comes in plain text, once, and says that TLS is required; the rest is in TLS."""
    peer = TLSPeer(broker(authority), PORT, client_context(authority))
    assert said_of_tls(peer.greeting) == {"tls_required"}
    assert peer.text == b""
    assert peer.send(HELLO) == PONG
    assert peer.send(b"SUB a 1\r\nPUB a 5\r\nhello\r\n") == PONG + b"MSG a 1 5\r\nhello\r\n"


def test_certificates_are_announced(authority: Authority) -> None:
    """Where certificates are asked for INFO says so, and the one that is shown is a login."""
    memory = broker(authority, client_ca=authority.path, certificate_user="cn")
    peer = TLSPeer(memory, PORT, client_context(authority, "ann"))
    assert said_of_tls(peer.greeting) == {"tls_required", "tls_verify"}
    assert peer.send(b'CONNECT {"verbose":false,"pedantic":false}\r\nPING\r\n') == PONG


@pytest.mark.parametrize("keys", [{}, {"handshake": "first"}, {"handshake": "auto"}])
@pytest.mark.parametrize("said", [HELLO, b"\x17\x03\x03\x00\x01x", b"\x00", b"GET / HTTP/1.1\r\n\r\n"])
def test_no_handshake(authority: Authority, keys: dict[str, object], said: bytes) -> None:
    """What does not begin TLS is hung up on without a word; nothing of it is done, and it is counted."""
    memory = broker(authority, **keys)
    peer = memory.connect("nats")
    peer.take()
    peer.send(said)
    assert peer.take() == b""
    assert is_closed(peer, memory)
    assert errors(memory) == {"tls": 1}
    assert memory.broker.listener("nats").counts.logins == 0


@pytest.mark.parametrize("keys", [{}, {"handshake": "first"}, {"handshake": "auto"}, {"login_timeout": 60}])
@pytest.mark.parametrize("said", [b"", BEGUN])
def test_no_handshake_in_time(authority: Authority, keys: dict[str, object], said: bytes) -> None:
    """Who does not shake hands in time, or not to the end, is hung up on without a word."""
    memory = broker(authority, tls_timeout=3.0, ping_interval=1.0, **keys)
    peer = memory.connect("nats")
    peer.send(said)
    memory.advance(0.1)
    peer.take()
    memory.advance(2.8)
    assert not peer.closed
    memory.advance(0.2)
    assert peer.take() == b""
    assert is_closed(peer, memory)
    assert errors(memory) == {"tls": 1}


def test_the_login_is_waited_for_in_tls(authority: Authority) -> None:
    """The time for the login begins when TLS has; there are no PINGs before."""
    memory = broker(authority, login_timeout=1.0, tls_timeout=5.0)
    peer = memory.connect("nats")
    memory.advance(4.0)
    assert not peer.closed
    assert peer.take().count(b"\r\n") == 1
    secure = TLSPeer(memory, PORT, client_context(authority))
    memory.advance(1.0)
    assert secure.send(b"") == b"-ERR 'Authentication Timeout'\r\n"


def test_untrusted(authority: Authority) -> None:
    """A client that does not trust the broker, or shows nothing where it has to, ends it in the handshake."""
    memory = broker(authority, client_ca=authority.path)
    peer = TLSPeer(memory, PORT, client_context(authority))
    assert is_closed(peer.peer, memory)
    assert peer.text == b""
    assert errors(memory) == {"tls": 1}


def test_hung_up_in_the_handshake(authority: Authority) -> None:
    """A client that goes in the midst of it leaves nothing behind."""
    memory = broker(authority)
    for said in (b"", BEGUN):
        peer = memory.connect("nats")
        peer.send(said)
        peer.hang_up()
    assert not memory.broker.listener("nats").sessions
    memory.advance(5.0)
    assert errors(memory) == {}


def test_one_too_many(authority: Authority) -> None:
    """One connection too many is told so in plain text, behind INFO, as nats-server does."""
    memory = broker(authority, max_connections=1)
    first, peer = memory.connect("nats"), memory.connect("nats")
    assert peer.take().endswith(b"-ERR 'maximum connections exceeded'\r\n")
    peer.send(BEGUN)
    memory.advance(1.0)
    assert (first.closed, peer.closed) == (False, True)


def test_a_reader_of_nothing(authority: Authority) -> None:
    """Who begins TLS without having read INFO is hung up on: the rest of INFO would come in the midst of TLS."""
    memory = broker(authority)
    peer = memory.connect("nats")
    peer.take()
    peer.protocol.outbox.pending = 1  # as if the socket had taken all but a byte
    assert not peer.protocol.move(peer.transport)
    assert is_closed(peer, memory)
    assert errors(memory) == {"tls": 1}


# -- first, or either ---------------------------------------------------------------------------------------------


def test_first(authority: Authority) -> None:
    """TLS first: not a byte before it, and INFO in it."""
    peer = TLSPeer(broker(authority, handshake="first"), PORT, client_context(authority))
    assert peer.greeting == b""
    assert said_of_tls(peer.text) == {"tls_required"}
    assert peer.send(HELLO).endswith(b"}" + b" \r\n" + PONG)


def test_auto(authority: Authority) -> None:
    """Either: who begins at once hears INFO in TLS, who waits hears it in plain text; each hears it once."""
    memory = broker(authority, handshake="auto", handshake_fallback=0.5)
    first = TLSPeer(memory, PORT, client_context(authority))
    assert first.greeting == b""
    assert first.send(HELLO).count(b"INFO") == 1
    peer = memory.connect("nats")
    memory.advance(0.4)
    assert peer.take() == b""
    memory.advance(0.2)
    assert said_of_tls(peer.take()) == {"tls_required"}
    memory.advance(1.0)
    assert peer.take() == b""


# -- beside plain text --------------------------------------------------------------------------------------------


def test_plain(authority: Authority) -> None:
    """Where plain text may be, INFO only offers TLS; who goes on in plain text is served, and so is who does not."""
    memory = broker(authority, plain=True)
    peer = memory.connect("nats")
    assert said_of_tls(peer.take()) == {"tls_available"}
    peer.send(HELLO[:3], HELLO[3:])
    assert peer.take() == PONG
    assert peer.transport.protocol is peer.protocol
    secure = TLSPeer(memory, PORT, client_context(authority))
    assert said_of_tls(secure.greeting) == {"tls_available"}
    assert secure.send(HELLO) == PONG


def test_plain_silence(authority: Authority) -> None:
    """Who says nothing there has the time for a handshake, and then that for a login."""
    memory = broker(authority, plain=True, tls_timeout=1.0, login_timeout=1.0)
    peer = memory.connect("nats")
    peer.take()
    memory.advance(1.0)
    memory.advance(0.9)
    assert (peer.take(), peer.closed) == (b"", False)
    memory.advance(0.2)
    assert peer.take() == b"-ERR 'Authentication Timeout'\r\n"


def test_plain_and_auto(authority: Authority) -> None:
    """All three ways may be open at once."""
    memory = broker(authority, plain=True, handshake="auto")
    assert TLSPeer(memory, PORT, client_context(authority)).greeting == b""
    peer = memory.connect("nats")
    peer.send(HELLO)
    line, _, rest = peer.take().partition(b"\r\n")
    assert said_of_tls(line + b"\r\n") == {"tls_available"}
    assert rest == PONG


# -- pins ---------------------------------------------------------------------------------------------------------


def pin(authority: Authority, name: str) -> str:
    """Give the digest of a certificate's key."""
    from cryptography import x509

    made = x509.load_pem_x509_certificate((authority.directory / f"{name}.crt").read_bytes())
    return sha256(made.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


@pytest.mark.parametrize("handshake", ["after-info", "first"])
@pytest.mark.parametrize(("shown", "optional"), [("ann", False), ("bob", False), ("ann", True), ("", True)])
def test_pins(authority: Authority, handshake: str, shown: str, optional: bool) -> None:
    """Where keys are pinned, no other certificate of the authority gets anywhere, and neither does none."""
    keys = {"client_ca": authority.path, "client_certificate": "optional" if optional else "required"}
    memory = broker(authority, handshake=handshake, pinned_certs=[pin(authority, "ann").upper()], **keys)
    peer = TLSPeer(memory, PORT, client_context(authority, shown))
    peer.send(HELLO)
    if shown == "ann":
        assert peer.text.endswith(PONG)
        return
    assert peer.text == b""
    assert is_closed(peer.peer, memory)
    assert errors(memory) == {"tls": 1}
    assert memory.broker.listener("nats").counts.logins == 0


def test_pins_of_a_websocket(authority: Authority) -> None:
    """They hold for a WebSocket too."""
    files = f"key={authority.directory}/server.key:cert={authority.directory}/server.crt"
    keys = {"endpoint": f"tls:port=2:{files}", "client_ca": authority.path, "pinned_certs": [pin(authority, "ann")]}
    memory = MemoryBroker(settings={"nats-websocket": keys})
    request = (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    ann = TLSPeer(memory, 2, client_context(authority, "ann"))
    assert b'"tls_required":true,"tls_verify":true' in ann.send(request)
    bob = TLSPeer(memory, 2, client_context(authority, "bob"))
    assert bob.send(request) == b""
    assert bob.peer.closed
    assert dict(memory.broker.listener("nats-websocket").counts.errors) == {"tls": 1}


# -- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        {"handshake": "later"},
        {"handshake": "first", "plain": True},
        {"pinned_certs": ["0" * 64]},
        {"pinned_certs": ["0" * 63], "client_ca": "AUTHORITY"},
        {"pinned_certs": ["sha256:" + "0" * 57], "client_ca": "AUTHORITY"},
        {"endpoint": "tcp:port=1", "handshake": "first"},
        {"endpoint": "tcp:port=1", "plain": True},
    ],
)
def test_wrong_settings(authority: Authority, keys: dict[str, Any]) -> None:
    """What cannot be meant ends the start with one line that names the key."""
    key = next(name for name in ("plain", "pinned_certs", "handshake") if name in keys)
    told = {name: authority.path if value == "AUTHORITY" else value for name, value in keys.items()}
    with pytest.raises(ConfigError, match=f": {key}: found"):
        broker(authority, **told)


# -- under TLS ----------------------------------------------------------------------------------------------------


def test_a_slow_reader(authority: Authority) -> None:
    """A reader that has stopped is given up after TLS has begun, too, and what waits for it is bounded."""
    memory = broker(authority, outbox_limit=256 * 1024, outbox_deadline=5.0)
    peer = TLSPeer(memory, PORT, client_context(authority))
    peer.send(HELLO + b"SUB a 1\r\n")
    peer.peer.stop_reading()
    local = memory.local()
    for _ in range(100):
        local.publish(b"a", b"x" * 10_000)
        assert peer.peer.protocol.outbox.pending <= 256 * 1024
        assert peer.peer.transport.pending < 3 * 64 * 1024 + 16_000
        memory.advance(0.1)
    assert peer.peer.aborted
    assert memory.broker.listener("nats").counts.slow_readers == {"limit": 1}


def test_stop(authority: Authority) -> None:
    """Stopping the broker ends connections that have not agreed on TLS yet, and those that are in the midst of it."""
    memory = broker(authority)
    peers = [memory.connect("nats") for _ in range(3)]
    peers[1].send(BEGUN)
    done: list[object] = []
    memory.broker.stopService().addCallback(done.append)
    for _ in range(4):
        memory.advance(1.0)
    assert [peer.closed for peer in peers] == [True, True, True]
    assert len(done) == 1
