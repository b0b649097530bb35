"""TLS of NATS as nats-server does it: the same clients at both, and the same comes of it.

Each variant is one listener of a brokerkit and one nats-server.  A client says what it heard in plain text, what it
heard in TLS, and how it ended.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.certificates import Authority, client_context
from tests.servers.programs import find, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 0.6  # seconds for a handshake, at both
SECONDS = 20  # for a program to come up, or to go down
HELLO = b'CONNECT {"verbose":false,"protocol":0}\r\nPING\r\n'
FILES = "cert_file: server.crt, key_file: server.key"
ASKS = {"client_ca": "authority.crt"}

MAP = "map"
# name: what nats-server's tls block says more, what stands beside it, and the keys of brokerkit's [[listen]]
VARIANTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "upgrade": ("", "", {}),
    "verify": ("verify: true, ca_file: authority.crt", "", ASKS),
    "first": ("handshake_first: true", "", {"handshake": "first"}),
    "auto": ('handshake_first: "200ms"', "", {"handshake": "auto", "handshake_fallback": 0.2}),
    "mixed": ("", "allow_non_tls: true", {"plain": True}),
    "pinned": (
        'verify: true, ca_file: authority.crt, pinned_certs: ["PIN"]',
        "",
        {**ASKS, "pinned_certs": ["PIN"]},
    ),
    "first with certificates": (
        "handshake_first: true, verify: true, ca_file: authority.crt",
        "",
        {**ASKS, "handshake": "first"},
    ),
    MAP: (
        "verify_and_map: true, ca_file: authority.crt",
        'authorization { users = [ {user: "ann@example.org", permissions: {publish: ">", subscribe: ">"}} ] }',
        {**ASKS, "certificate_user": "san-email"},
    ),
}


@attrs.define
class Outcome:
    """What became of one client: INFO's words on TLS, first in plain text and then in TLS; the rest; and the end."""

    plain: list[str] = attrs.field(factory=list)
    secure: list[str] = attrs.field(factory=list)
    rest: bytes = b""
    end: str = "open"


class Client:
    """A client of raw bytes; whatever it does is added to its outcome."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        """Connect."""
        self.outcome = Outcome()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self._context = context

    def info(self, patience: float = SECONDS) -> None:
        """Read INFO, if it comes."""
        self.socket.settimeout(patience)
        text = b""
        try:
            while not text.endswith(b"\n"):
                byte = self.socket.recv(1)
                if not byte:
                    break
                text += byte
        except TimeoutError:
            pass
        except OSError:
            self.outcome.end = "closed"
        self.socket.settimeout(SECONDS)
        if text:
            heard = self.outcome.secure if isinstance(self.socket, ssl.SSLSocket) else self.outcome.plain
            heard += _words(text)

    def secure(self) -> bool:
        """Shake hands; say whether that went well, as far as this side knows."""
        try:
            self.socket = self._context.wrap_socket(self.socket)
        except OSError:
            self.outcome.end = "closed"
            return False
        return True

    def send(self, data: bytes) -> None:
        """Send; a connection that is gone shows itself when it is read from."""
        try:
            self.socket.sendall(data)
        except OSError:
            self.outcome.end = "closed"

    def listen(self, until: bytes = b"PONG\r\n", patience: float = 3 * TIMEOUT) -> Outcome:
        """Read until that has come, the connection is closed, or nothing comes."""
        self.socket.settimeout(patience)
        try:
            while until not in self.outcome.rest:
                data = self.socket.recv(4096)
                if not data:
                    self.outcome.end = "closed"
                    break
                self.outcome.rest += data
        except TimeoutError:
            pass
        except OSError:
            self.outcome.end = "closed"
        self.socket.close()
        # A first INFO may come with the rest.
        if not isinstance(self.socket, ssl.SSLSocket) and self.outcome.rest.startswith(b"INFO"):
            first, _, self.outcome.rest = self.outcome.rest.partition(b"\n")
            self.outcome.plain += _words(first)
        return self.outcome


def _words(line: bytes) -> list[str]:
    """Give what INFO says of TLS."""
    info = json.loads(line[5:])
    return ["INFO", *sorted(key for key, value in info.items() if key.startswith("tls_") and value)]


# -- what clients do ------------------------------------------------------------------------------------------------


def upgrades(client: Client) -> Outcome:
    """Begin TLS when INFO has come, as client libraries do."""
    client.info(1.0)
    if client.secure():
        client.send(HELLO)
        return client.listen()
    return client.outcome


def begins_with_tls(client: Client) -> Outcome:
    """Begin TLS, and wait for INFO in it."""
    if client.secure():
        client.info(1.0)
        client.send(HELLO)
        return client.listen()
    return client.outcome


def stays_plain(client: Client) -> Outcome:
    """Read INFO, and go on in plain text."""
    client.info(1.0)
    client.send(HELLO)
    return client.listen()


def does_not_wait(client: Client) -> Outcome:
    """Speak before anything is heard."""
    client.send(HELLO)
    return client.listen()


def says_nothing(client: Client) -> Outcome:
    """Listen only."""
    return client.listen()


def says_nonsense(client: Client) -> Outcome:
    """Say what is neither."""
    client.info(0.3)
    client.send(b"\x00\xff" * 20)
    return client.listen()


def says_half(client: Client) -> Outcome:
    """Begin a handshake, and stop in its midst."""
    client.info(0.3)
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    return client.listen()


def goes_slowly(client: Client) -> Outcome:
    """Send a handshake byte by byte."""
    client.info(0.3)
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    secure = client._context.wrap_bio(into, out)
    for _ in range(6):
        try:
            secure.do_handshake()
            break
        except ssl.SSLWantReadError:
            for byte in out.read():
                client.send(bytes((byte,)))
            into.write(client.socket.recv(65536))
    secure.write(HELLO)
    client.send(out.read())
    text = b""
    while b"PONG" not in text:
        data = client.socket.recv(65536)
        into.write(data)
        try:
            while not text.endswith(b"PONG\r\n"):
                text += secure.read(65536)
        except ssl.SSLWantReadError:
            assert data
    client.outcome.rest = text.rpartition(b"INFO")[2].partition(b"\n")[2] if b"INFO" in text else text
    return client.outcome


WAYS = [upgrades, begins_with_tls, stays_plain, does_not_wait, says_nothing, says_nonsense, says_half]


# -- both servers ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make an authority, certificates of it, and one of a stranger."""
    made = Authority(tmp_path_factory.mktemp("tls"))
    made.issue("server", "server")
    made.issue("ann", "ann", [x509.RFC822Name("ann@example.org")])
    made.issue("eve", "eve", [x509.RFC822Name("eve@example.org")])
    Authority(made.directory, "stranger").issue("forged", "ann")
    return made


def _pin(authority: Authority) -> str:
    """Give the digest of ann's key."""
    from hashlib import sha256

    found = x509.load_pem_x509_certificate((authority.directory / "ann.crt").read_bytes())
    return sha256(found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


@contextmanager
def running(command: list[str], home: Path, ports: list[int]) -> Iterator[None]:
    """Run a program that listens on these ports, until the end of the block."""
    log = home / f"{Path(command[0]).name}-{free_port()}.log"
    with log.open("wb") as out:
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, cwd=home, env=environ, stdout=out, stderr=out)
    try:
        end = time.monotonic() + SECONDS
        while not all(map(_listens, ports)):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert "Traceback" not in log.read_text(errors="replace")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else json.dumps(value)


@pytest.fixture(scope="module")
def brokerkit(home: Authority) -> Iterator[dict[str, int]]:
    """Run a brokerkit with a listener for each variant, and one for the variant that has users; give their ports."""
    user = {"owner": "tests", "secret": "secret", "pubchans": [], "subchans": [], "publish": [">"], "subscribe": [">"]}
    (home.directory / "users.json").write_text(json.dumps({"ann@example.org": user}))
    ports = {name: free_port() for name in VARIANTS}
    groups = {"anonymous": [name for name in VARIANTS if name != MAP], "json:users.json": [MAP]}
    with ExitStack() as stack:
        for number, (auth, names) in enumerate(groups.items()):
            file = home.directory / f"broker{number}.toml"
            file.write_text("\n".join([f'auth = "{auth}"', *(_listen(home, name, ports[name]) for name in names)]))
            command = [str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", "brokerkit", "-c", str(file)]
            opened = [ports[name] for name in names]
            stack.enter_context(running(command, home.directory, opened))
        yield ports


def _listen(home: Authority, name: str, port: int) -> str:
    """Give a table of a configuration."""
    endpoint = f"tls:port={port}:interface=127.0.0.1:key=server.key:cert=server.crt"
    lines = ["[[listen]]", 'protocol = "nats"', f'endpoint = "{endpoint}"', f"tls_timeout = {TIMEOUT}"]
    lines += [f"{key} = {_toml(value)}".replace("PIN", _pin(home)) for key, value in VARIANTS[name][2].items()]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def nats_server(home: Authority) -> Iterator[dict[str, int]]:
    """Run a nats-server for each variant; give their ports."""
    program = find(os.environ.get("NATS_SERVER", "nats-server"))
    ports = {name: free_port() for name in VARIANTS}
    with ExitStack() as stack:
        for name, (block, beside, _) in VARIANTS.items():
            file = home.directory / f"{name.replace(' ', '-')}.conf"
            tls = f"tls {{ {FILES}, timeout: {TIMEOUT}, {block} }}".replace("PIN", _pin(home))
            file.write_text(f"listen: 127.0.0.1:{ports[name]}\n{tls}\n{beside}\n")
            stack.enter_context(running([program, "-c", str(file)], home.directory, [ports[name]]))
        yield ports


def _outcomes(port: int, home: Authority, way: Callable[[Client], Outcome], shown: str) -> Outcome:
    return way(Client(port, client_context(home, shown)))


def _both(
    brokerkit: dict[str, int],
    nats_server: dict[str, int],
    home: Authority,
    variant: str,
    way: Callable[[Client], Outcome],
    shown: str = "",
) -> Outcome:
    """Give the outcome, which has to be the same at both."""
    expected = _outcomes(nats_server[variant], home, way, shown)
    found = _outcomes(brokerkit[variant], home, way, shown)
    assert found == expected
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != MAP])
def test_the_same_comes_of_it(
    brokerkit: dict[str, int],
    nats_server: dict[str, int],
    home: Authority,
    variant: str,
    way: Callable[[Client], Outcome],
) -> None:
    """Whatever a client does, with ann's certificate, it hears the same and ends the same way."""
    _both(brokerkit, nats_server, home, variant, way, "ann")


@pytest.mark.parametrize("shown", ["", "ann", "eve", "forged"])
@pytest.mark.parametrize("variant", ["upgrade", "verify", "pinned", "first with certificates", MAP])
def test_certificates(
    brokerkit: dict[str, int], nats_server: dict[str, int], home: Authority, variant: str, shown: str
) -> None:
    """Whatever certificate is shown, it opens the same doors."""
    way = begins_with_tls if "first" in variant else upgrades
    found = _both(brokerkit, nats_server, home, variant, way, shown)
    welcome = {"": ["upgrade"], "ann": list(VARIANTS), "eve": ["upgrade", "verify", "first with certificates"]}
    assert (b"PONG" in found.rest) == (variant in welcome.get(shown, ["upgrade"]))


@pytest.mark.parametrize("variant", ["upgrade", "first", "auto", "mixed"])
def test_byte_by_byte(brokerkit: dict[str, int], nats_server: dict[str, int], home: Authority, variant: str) -> None:
    """A handshake may come in pieces of any size."""
    assert b"PONG" in _both(brokerkit, nats_server, home, variant, goes_slowly).rest.replace(b"INFO", b"")
