"""Client certificates: who gets through the handshake, whose name is in a certificate, and what a login makes of it."""

from __future__ import annotations

from hashlib import sha1
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokerkit.checkers.anonymous import Anyone
from brokerkit.checkers.memory import MemoryUsers
from brokerkit.config import Listen
from brokerkit.errors import ConfigError
from brokerkit.protocols.hpfeeds import wire as hpfeeds
from brokerkit.testing import MemoryBroker
from brokerkit.tls import Naming, NoName, clients
from tests.certificates import SERVERS_ONLY, Authority, TLSPeer, client_context

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NATS, HPFEEDS = 1, 2
REFUSED = b"-ERR 'Authorization Violation'\r\n"
PONG = b"PONG\r\n"


def dns(*names: str) -> list[x509.GeneralName]:
    """Give alternative names."""
    return [x509.DNSName(name) for name in names]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make an authority with what the tests need, and another one that nobody trusts."""
    made = Authority(tmp_path_factory.mktemp("certificates"))
    made.issue("server", "server", dns("localhost"))
    made.issue("ann", "ann")
    made.issue("badge", "badge-7")
    made.issue("nobody", "nobody")
    made.issue("nameless", "", dns("ann"))
    made.issue("old", "ann", expired=True)
    made.issue("servers", "ann", purpose=SERVERS_ONLY)
    Authority(made.directory, "stranger").issue("forged", "ann")
    return made


def listen(authority: Authority, port: int, **keys: object) -> dict[str, object]:
    """Give a listener's keys that ask for certificates."""
    files = f"key={authority.directory}/server.key:cert={authority.directory}/server.crt"
    return {"endpoint": f"tls:port={port}:{files}", "client_ca": authority.path, **keys}


def broker(authority: Authority, *, sources: Any = (), **keys: object) -> MemoryBroker:
    """Give a broker whose two listeners ask for certificates, before a word is said; the badge is bob's."""
    badges = MemoryUsers({"bob": "bob's secret"}, certificates={"bob": ("badge-7",)})
    return MemoryBroker(
        users={"ann": "ann's secret"},
        settings={
            "nats": listen(authority, NATS, handshake="first", **keys),
            "hpfeeds": listen(authority, HPFEEDS, **keys),
        },
        sources=[badges, *sources],
    )


def nats(memory: MemoryBroker, authority: Authority, shown: str, said: str = "") -> bytes:
    """Connect with a certificate, say CONNECT, and give what comes behind INFO."""
    peer = TLSPeer(memory, NATS, client_context(authority, shown))
    peer.send(b'CONNECT {"verbose":false,"pedantic":false%b}\r\nPING\r\n' % said.encode())
    return peer.text.partition(b"\r\n")[2]


def auth(memory: MemoryBroker, authority: Authority, shown: str, ident: bytes, secret: bytes = b"") -> bytes:
    """Connect with a certificate, say AUTH, and give the error that comes."""
    peer = TLSPeer(memory, HPFEEDS, client_context(authority, shown))
    name_length = peer.text[5]
    nonce, before = peer.text[6 + name_length :], len(peer.text)
    digest = sha1(nonce + secret, usedforsecurity=False).digest()
    peer.send(hpfeeds.spell(hpfeeds.Auth(ident, digest)))
    return peer.text[before + 5 :]


def who(memory: MemoryBroker) -> list[bytes]:
    """Give the names of those who are logged in."""
    return [name for _, name in memory.broker.realm.clients]


# -- the handshake ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", ["", "forged", "old", "servers"])
@pytest.mark.parametrize("keys", [{}, {"certificate_user": "cn"}, {"client_certificate": "required"}])
def test_no_way_in(authority: Authority, shown: str, keys: dict[str, str]) -> None:
    """Without a certificate of the authority that is valid now and for clients, nobody hears a word of the protocol."""
    memory = broker(authority, **keys)
    peer = TLSPeer(memory, NATS, client_context(authority, shown))
    peer.send(b'CONNECT {"user":"ann","pass":"ann\'s secret"}\r\nPING\r\n')
    assert peer.text == b""
    assert peer.peer.closed
    assert who(memory) == []
    assert memory.broker.listener("nats").counts.errors == {"tls": 1}
    assert not memory.broker.listener("nats").sessions


@pytest.mark.parametrize("shown", ["forged", "old", "servers"])
def test_optional_is_not_anything(authority: Authority, shown: str) -> None:
    """Where a certificate is optional, one that is shown has to be valid even so."""
    memory = broker(authority, client_certificate="optional", certificate_user="cn")
    assert nats(memory, authority, shown) == b""
    assert memory.broker.listener("nats").counts.errors == {"tls": 1}


def test_optional(authority: Authority) -> None:
    """Whoever shows none logs in with a secret, and is nobody without; whoever shows one needs no secret."""
    memory = broker(authority, client_certificate="optional", certificate_user="cn")
    assert nats(memory, authority, "", ',"user":"ann","pass":"ann\'s secret"') == PONG
    assert nats(memory, authority, "") == REFUSED
    assert nats(memory, authority, "badge") == PONG
    assert auth(memory, authority, "", b"ann", b"ann's secret") == b""
    assert auth(memory, authority, "", b"ann").startswith(b"Authentication failed")


def test_plain_text(authority: Authority) -> None:
    """What is no TLS gets no answer, and is counted."""
    memory = broker(authority)
    peer = TLSPeer(memory, NATS, client_context(authority, "ann")).peer
    peer.send(b"CONNECT {}\r\nPING\r\n")
    memory.advance(0)
    assert memory.broker.listener("nats").counts.errors["tls"] == 1


def test_silence(authority: Authority) -> None:
    """Whoever does not shake hands, or does not say goodbye, is cut off in the end."""
    memory = broker(authority, certificate_user="cn")
    refused = TLSPeer(memory, NATS, client_context(authority, "nameless"))
    silent = TLSPeer(memory, NATS, client_context(authority, "ann"))
    refused.send(b"CONNECT {}\r\n")
    for _ in range(60):
        memory.advance(0.5)
    assert refused.peer.closed
    assert silent.peer.closed
    assert not memory.broker.listener("nats").sessions


def test_info(authority: Authority) -> None:
    """NATS clients are told that there is TLS, and that certificates are asked for where that is so."""
    peer = TLSPeer(broker(authority), NATS, client_context(authority, "ann"))
    assert b'"tls_required":true,"tls_verify":true' in peer.text
    peer = TLSPeer(broker(authority, client_certificate="optional"), NATS, client_context(authority))
    assert b'"tls_required":true' in peer.text
    assert b"tls_verify" not in peer.text


# -- a gate -------------------------------------------------------------------------------------------------------


def test_a_gate_names_nobody(authority: Authority) -> None:
    """Without ``certificate_user`` a certificate replaces no secret, whatever is in it."""
    memory = broker(authority)
    assert nats(memory, authority, "ann") == REFUSED
    assert nats(memory, authority, "nameless") == REFUSED
    assert auth(memory, authority, "ann", b"ann").startswith(b"Authentication failed")
    assert who(memory) == []
    assert nats(memory, authority, "nameless", ',"user":"ann","pass":"ann\'s secret"') == PONG
    assert auth(memory, authority, "nobody", b"ann", b"ann's secret") == b""


# -- a login ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shown", "name"), [("ann", b"ann"), ("badge", b"bob")])
def test_nats_login(authority: Authority, shown: str, name: bytes) -> None:
    """The certificate is that of the user who is called so, or of the one whose entry has it; CONNECT logs in."""
    memory = broker(authority, certificate_user="cn")
    assert nats(memory, authority, shown) == PONG
    assert who(memory) == [name]


def test_nats_login_is_at_connect(authority: Authority) -> None:
    """A certificate alone does nothing before CONNECT: what comes sooner is refused as ever."""
    memory = broker(authority, certificate_user="cn")
    peer = TLSPeer(memory, NATS, client_context(authority, "ann"))
    assert who(memory) == []
    peer.send(b"PING\r\n")
    assert peer.text.partition(b"\r\n")[2] == REFUSED


@pytest.mark.parametrize(
    ("said", "answer", "names"),
    [
        (',"user":"bob","pass":"bob\'s secret"', PONG, [b"bob"]),
        (',"user":"bob","pass":"wrong"', REFUSED, []),
        (',"user":"ann"', REFUSED, []),
        (',"user":"ann","pass":"wrong"', REFUSED, []),
        (',"pass":"wrong"', REFUSED, []),
        (',"auth_token":"wrong"', REFUSED, []),
        (',"user":"","pass":""', PONG, [b"ann"]),
        (',"nkey":"U","sig":"x"', PONG, [b"ann"]),  # not looked at where nobody has a key
    ],
)
def test_nats_explicit_credentials_decide(authority: Authority, said: str, answer: bytes, names: list[bytes]) -> None:
    """Whoever says who it is, is that or nobody: the certificate does not make up for it."""
    memory = broker(authority, certificate_user="cn")
    assert nats(memory, authority, "ann", said) == answer
    assert who(memory) == names


def test_unknown_name(authority: Authority) -> None:
    """A valid certificate with a name that no source knows lets nobody in."""
    memory = broker(authority, certificate_user="cn")
    assert nats(memory, authority, "nobody") == REFUSED
    assert auth(memory, authority, "nobody", b"nobody").startswith(b"Authentication failed")
    assert who(memory) == []
    assert memory.broker.listener("nats").counts.logins_refused == 1


def test_unknown_name_and_anonymous(authority: Authority) -> None:
    """Who accepts any name accepts that one, under its name."""
    memory = broker(authority, sources=[Anyone()], certificate_user="cn")
    assert nats(memory, authority, "nobody") == PONG
    assert who(memory) == [b"nobody"]


@pytest.mark.parametrize("said", ["", ',"user":"ann","pass":"ann\'s secret"'])
def test_no_name(authority: Authority, said: str) -> None:
    """A certificate without the name that is asked for ends the login, also one that would be right by itself."""
    memory = broker(authority, certificate_user="cn")
    assert nats(memory, authority, "nameless", said) == REFUSED
    assert auth(memory, authority, "nameless", b"ann", b"ann's secret").startswith(b"Authentication failed")
    for protocol in ("nats", "hpfeeds"):
        counts = memory.broker.listener(protocol).counts
        assert (counts.logins_refused, counts.errors["login"]) == (1, 1)


def test_hpfeeds_login(authority: Authority) -> None:
    """AUTH with the ident whose certificate it is needs no digest; another's certificate leaves it to the digest."""
    memory = broker(authority, certificate_user="cn")
    assert auth(memory, authority, "ann", b"ann", b"wrong") == b""
    assert auth(memory, authority, "badge", b"bob", b"wrong") == b""
    assert who(memory) == [b"ann", b"bob"]
    assert auth(memory, authority, "ann", b"bob", b"wrong").startswith(b"Authentication failed")
    assert auth(memory, authority, "badge", b"ann", b"wrong").startswith(b"Authentication failed")
    assert auth(memory, authority, "badge", b"badge-7", b"wrong").startswith(b"Authentication failed")
    assert auth(memory, authority, "ann", b"", b"wrong").startswith(b"Authentication failed")
    assert auth(memory, authority, "nobody", b"bob", b"bob's secret") == b""


def test_revoked(authority: Authority) -> None:
    """A user who is removed is gone within seconds, also one who came with a certificate."""
    memory = broker(authority, certificate_user="cn")
    peer = TLSPeer(memory, NATS, client_context(authority, "ann"))
    peer.send(b'CONNECT {"verbose":false,"pedantic":false}\r\n')
    memory.source.remove("ann")
    memory.advance(5)
    peer.send(b"")
    assert peer.text.endswith(b"-ERR 'User Authentication Revoked'\r\n")
    assert who(memory) == []


# -- names --------------------------------------------------------------------------------------------------------


def subject(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    """Give a subject, the most general part first."""
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])


FULL = subject((NameOID.ORGANIZATION_NAME, "Exam, ple"), (NameOID.COMMON_NAME, "ann"))
TWICE = subject((NameOID.COMMON_NAME, "ann"), (NameOID.COMMON_NAME, "bob"))
MAILBOXES: list[x509.GeneralName] = [x509.RFC822Name("ann@example.org"), x509.DNSName("host")]
ADDRESSES: list[x509.GeneralName] = [x509.UniformResourceIdentifier("spiffe://example/ann")]


@pytest.mark.parametrize(
    ("rule", "shown", "alternatives", "name"),
    [
        ({"certificate_user": "cn"}, FULL, [], b"ann"),
        ({"certificate_user": "cn"}, "é", [], "é".encode()),
        ({"certificate_user": "cn"}, TWICE, [], None),
        ({"certificate_user": "cn"}, "", dns("ann"), None),
        ({"certificate_user": "cn"}, "ann\0.example", [], b"ann\0.example"),
        ({"certificate_user": "subject"}, FULL, [], b"CN=ann,O=Exam\\, ple"),
        ({"certificate_user": "subject"}, "ann", dns("bob"), b"CN=ann"),
        ({"certificate_user": "san-dns"}, "bob", dns("ann"), b"ann"),
        ({"certificate_user": "san-dns"}, "bob", dns("ann", "ann"), b"ann"),
        ({"certificate_user": "san-dns"}, "bob", dns("ann", "bob"), None),
        ({"certificate_user": "san-dns"}, "bob", [], None),
        ({"certificate_user": "san-email"}, "bob", MAILBOXES, b"ann@example.org"),
        ({"certificate_user": "san-dns"}, "bob", MAILBOXES, b"host"),
        ({"certificate_user": "san-uri"}, "bob", ADDRESSES, b"spiffe://example/ann"),
        ({"certificate_user": "san-email"}, "bob", ADDRESSES, None),
        ({"certificate_user": "san-uri", "certificate_pattern": "spiffe://example/(.*)"}, "", ADDRESSES, b"ann"),
        ({"certificate_user": "cn", "certificate_pattern": r"^(.+)\.a\.b$"}, "ann.a.b", [], b"ann"),
        ({"certificate_user": "cn", "certificate_pattern": r"(.+)\.a\.b"}, "ann.a.b.evil", [], None),
        ({"certificate_user": "cn", "certificate_pattern": r"(.+)\.a\.b"}, "ann.a.b\n", [], None),
        ({"certificate_user": "cn", "certificate_pattern": r"(\w+)\.a"}, "x.ann.a", [], None),
        ({"certificate_user": "cn", "certificate_pattern": r"(.*)\.a"}, ".a", [], None),
        ({"certificate_user": "cn", "certificate_pattern": r"a|(b)"}, "a", [], None),
        ({"certificate_user": "san-dns", "certificate_pattern": r"(.+)\.a"}, "", dns("ann.a", "bob.b"), b"ann"),
        ({"certificate_user": "san-dns", "certificate_pattern": r"(.+)\.a"}, "", dns("ann.a", "bob.a"), None),
    ],
)
def test_name(
    authority: Authority,
    rule: dict[str, str],
    shown: x509.Name | str,
    alternatives: list[x509.GeneralName],
    name: bytes | None,
) -> None:
    """The rule finds the one name that it asks for, in the part that it names and nowhere else, or none."""
    naming = made(authority, **rule)
    certificate = authority.issue("shown", shown, alternatives)
    if name is not None:
        assert naming.name(certificate) == name
        return
    with pytest.raises(NoName) as caught:
        naming.name(certificate)
    assert "\n" not in str(caught.value)


def test_names_in_the_order_of_nats_server(authority: Authority) -> None:
    """With ``nats`` they are tried in that order: e-mail addresses, DNS names, URIs, and the subject in both orders."""
    certificate = authority.issue("shown", FULL, [*ADDRESSES, *MAILBOXES])
    assert made(authority, certificate_user="nats").names(certificate) == (
        *(b"ann@example.org", b"host", b"spiffe://example/ann"),
        *(b"CN=ann,O=Exam\\, ple", b"O=Exam\\, ple,CN=ann"),
    )


@pytest.mark.parametrize(
    ("shown", "said", "answer"),
    [
        ("mapped", "", PONG),
        ("mapped", ',"user":"bob","pass":"wrong"', PONG),
        ("ann", "", REFUSED),
        ("ann", ',"user":"ann","pass":"ann\'s secret"', REFUSED),
    ],
)
def test_the_certificate_decides_alone(authority: Authority, shown: str, said: str, answer: bytes) -> None:
    """With ``nats`` the first name of a user counts, whatever else is said; a certificate of nobody is refused."""
    authority.issue("mapped", "ann", dns("nobody", "bob"))
    memory = NatsOnly(authority)
    assert nats(memory, authority, shown, said) == answer
    assert who(memory) == ([b"bob"] if answer == PONG else [])


class NatsOnly(MemoryBroker):
    """A broker with a NATS listener where certificates decide alone."""

    def __init__(self, authority: Authority) -> None:
        """Make it, with ann and bob."""
        keys = listen(authority, NATS, handshake="first", certificate_user="nats")
        super().__init__(settings={"nats": keys})


def made(authority: Authority, **keys: str) -> Naming:
    """Give the rule that a listener's keys say."""
    asked = clients(Listen("nats", "tls:…", client_ca=authority.path, **keys))
    assert asked is not None
    assert asked.naming is not None
    return asked.naming


class Shown:
    """A certificate of which only the subject is ever asked for."""

    def __init__(self, text: str) -> None:
        """Have that for a common name."""
        self.subject = self
        self.value = text

    def get_attributes_for_oid(self, _: object) -> list[Any]:
        """Give the common name."""
        return [self]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_any_name(text: str) -> None:
    """Whatever stands in a certificate is a name as it stands there, or none; never another one."""
    shown: Any = Shown(text)
    try:
        assert Naming("cn").name(shown) == text.encode()
    except NoName:
        assert not text or len(text.encode(errors="surrogatepass")) > 255 or not text.isprintable()


# -- the configuration --------------------------------------------------------------------------------------------


def test_nothing_is_asked_for() -> None:
    """Without keys no certificate is asked for."""
    assert clients(Listen("nats", "tcp:1")) is None


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"client_certificate": "required"}, "client_certificate: found 'required', expected client_ca beside it"),
        ({"certificate_user": "cn"}, "certificate_user: found 'cn', expected client_ca beside it"),
        ({"certificate_pattern": "(.)"}, "certificate_pattern: found '(.)', expected client_ca beside it"),
        ({"client_ca": ""}, "client_ca: found '', expected a file with the certificate of an authority in PEM ("),
        ({"client_ca": "/none.crt"}, "(No such file or directory)"),
        ({"client_ca": "CA", "client_certificate": "maybe"}, "found 'maybe', expected required or optional"),
        ({"client_ca": "CA", "certificate_user": "CN"}, "found 'CN', expected one of cn, subject, san-dns, san-"),
        ({"client_ca": "CA", "certificate_pattern": "(.)"}, "found '(.)', expected certificate_user beside it"),
        ({"client_ca": "CA", "certificate_user": "cn", "certificate_pattern": ".+"}, "it has no parentheses"),
        ({"client_ca": "CA", "certificate_user": "cn", "certificate_pattern": "(.+"}, "missing ), unterminated"),
        ({"client_ca": "KEY"}, "expected a file with the certificate of an authority in PEM ("),
        ({"client_ca": "LEAF"}, "there is none that is its own issuer: put the root behind the others"),
    ],
)
def test_what_cannot_be_meant(authority: Authority, keys: dict[str, str], expected: str) -> None:
    """Each slip is one line that names the key, what was found and what is expected."""
    directory = authority.directory
    paths = {"CA": authority.path, "KEY": str(directory / "server.key"), "LEAF": str(directory / "server.crt")}
    with pytest.raises(ConfigError) as caught:
        clients(Listen("nats", "tls:…", **{key: paths.get(text, text) for key, text in keys.items()}))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["tcp:port=1", "tcp6:1", "unix:/run/b.sock"])
def test_no_certificates_without_tls(authority: Authority, tmp_path: Path, endpoint: str) -> None:
    """Where certificates cannot be asked for, a listener that is to ask for them does not start."""
    with pytest.raises(ConfigError, match=r"^test: listen\[0\]: endpoint: found .* as client_ca stands beside it"):
        MemoryBroker(settings={"hpfeeds": listen(authority, 1) | {"endpoint": endpoint.format(tmp_path)}})


@pytest.mark.parametrize("spelling", ["privateKey={0}/server.key:certKey={0}/server.crt", "{0}/both.pem"])
def test_as_twisted_writes_it(authority: Authority, spelling: str) -> None:
    """A listener that is written ``ssl:`` asks for certificates too."""
    directory = authority.directory
    both = [(directory / f"server.{kind}").read_bytes() for kind in ("key", "crt")]
    (directory / "both.pem").write_bytes(b"".join(both))
    endpoint = f"ssl:{NATS}:{spelling.format(directory)}"
    keys = listen(authority, NATS, handshake="first", certificate_user="cn") | {"endpoint": endpoint}
    memory = MemoryBroker(settings={"nats": keys})
    assert nats(memory, authority, "ann") == PONG
    assert nats(memory, authority, "forged") == b""


def test_the_log(authority: Authority, capture: Callable[[], list[str]]) -> None:
    """Each certificate that is refused leaves one line that says why."""
    memory = broker(authority, certificate_user="cn")
    for shown in ("forged", "nameless", ""):
        nats(memory, authority, shown)
    assert [line.partition(": ")[2] for line in capture() if line.startswith("nats 192")] == [
        "tls: certificate verify failed",
        "login: its certificate has 0 names of users where there has to be one; cn is nothing",
        "tls: peer did not return a certificate",
    ]


@pytest.fixture
def capture() -> Any:
    """Give a function that gives the lines that were logged."""
    from twisted.logger import formatEvent, globalLogPublisher

    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: [formatEvent(event) for event in events]
    globalLogPublisher.removeObserver(events.append)
