"""Certificates that are replaced while the broker runs: what the next handshake has, and what is said of it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.web.test.requesthelper import DummyRequest

from brokerkit import metrics
from brokerkit.errors import ConfigError
from brokerkit.pem import Unfit, read_pair
from brokerkit.renewal import DAY, INTERVAL, MAX_FILES, MAX_SIZE, Renewal
from brokerkit.testing import MemoryBroker
from tests.certificates import Authority, TLSPeer, client_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

NATS, HPFEEDS = 1, 2
TRANSPORT = IPv4Address("TCP", "192.0.2.1", 1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Make an authority, and a server's pair, old.*, which server.* is a copy of."""
    made = Authority(tmp_path)
    made.issue("old", "old", days=90)
    made.issue("new", "new", days=90)
    put(made, "old")
    return made


@pytest.fixture
def lines() -> Any:
    """Give a function that gives the lines of this module's log since the last time."""
    from twisted.logger import formatEvent, globalLogPublisher

    events: list[Any] = []

    def since() -> list[str]:
        mine = [formatEvent(event) for event in events if event.get("log_namespace") == "brokerkit.renewal"]
        events.clear()
        return mine

    globalLogPublisher.addObserver(events.append)
    yield since
    globalLogPublisher.removeObserver(events.append)


def put(authority: Authority, name: str, *kinds: str) -> None:
    """Write a pair, or one of its files, over that of the server."""
    for kind in kinds or ("key", "crt"):
        content = (authority.directory / f"{name}.{kind}").read_bytes()
        (authority.directory / f"server.{kind}").write_bytes(content)


def endpoint(authority: Authority, port: int = NATS) -> str:
    """Give the server's endpoint."""
    return f"tls:port={port}:key={authority.directory}/server.key:cert={authority.directory}/server.crt"


def broker(authority: Authority, **keys: object) -> MemoryBroker:
    """Give a broker that serves server.* with both protocols, at today's time of day."""
    served = {
        "nats": {"endpoint": endpoint(authority), "handshake": "first", **keys},
        "hpfeeds": {"endpoint": endpoint(authority, HPFEEDS)},
    }
    memory = MemoryBroker(users={"ann": "ann's secret"}, settings=served)
    memory.reactor.rightNow = time.time()
    return memory


def shown(memory: MemoryBroker, authority: Authority, port: int = NATS) -> str:
    """Shake hands, and give the common name of the server's certificate."""
    return name_of(peer(memory, authority, port)._tls)


def name_of(tls: ssl.SSLObject) -> str:
    """Give the common name of the certificate that a client has seen."""
    found = tls.getpeercert(binary_form=True)
    assert found is not None
    names = x509.load_der_x509_certificate(found).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value)


def peer(memory: MemoryBroker, authority: Authority, port: int = NATS) -> TLSPeer:
    """Connect."""
    made = TLSPeer(memory, port, client_context(authority))
    assert made.failure is None
    return made


def login(memory: MemoryBroker, authority: Authority) -> TLSPeer:
    """Connect, and log in."""
    made = peer(memory, authority)
    assert made.send(b'CONNECT {"verbose":false,"pedantic":false,"user":"ann","pass":"ann\'s secret"}\r\n')
    return made


def numbers(memory: MemoryBroker) -> dict[str, float]:
    """Give the metrics of TLS, of the file server.crt."""
    page = metrics.pages(memory.broker).getChildWithDefault(b"metrics", DummyRequest([b"metrics"]))
    families = text_string_to_metric_families(page.render(DummyRequest([b"metrics"])).decode())
    return {
        sample.name.removeprefix("brokerkit_tls_"): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("brokerkit_tls_") and sample.labels["file"].endswith("server.crt")
    }


# -- replaced -----------------------------------------------------------------------------------------------------


def test_the_next_handshake(authority: Authority, lines: Callable[[], list[str]]) -> None:
    """A new pair is used by every listener that has its files from the next handshake on, which is said once."""
    memory = broker(authority)
    assert shown(memory, authority) == "old"
    put(authority, "new")
    memory.advance(INTERVAL)
    assert (shown(memory, authority), shown(memory, authority, HPFEEDS)) == ("new", "new")
    assert len(memory.broker.renewal.kept) == 1
    [line] = lines()
    assert "server.crt: certificate renewed, valid until 20" in line
    found = numbers(memory)
    assert found.pop("certificate_days") == pytest.approx(90, abs=0.1)
    assert found == {"reloads_total": 1, "reload_failures_total": 0, "broken": 0}


def test_open_connections_live_on(authority: Authority) -> None:
    """Who was connected before goes on as if nothing had happened."""
    memory = broker(authority)
    before = login(memory, authority)
    before.send(b"SUB a 1\r\n")
    put(authority, "new")
    memory.advance(INTERVAL)
    after = login(memory, authority)
    after.send(b"PUB a 5\r\nhello\r\n")
    before.send(b"PING\r\n")
    assert before.text.endswith(b"MSG a 1 5\r\nhello\r\nPONG\r\n")
    assert name_of(before._tls) == "old"


def test_links_that_lead_elsewhere(authority: Authority) -> None:
    """What certbot and Kubernetes do, a link to another file or to another directory, is seen."""
    here = authority.directory
    for name in ("old", "new"):
        (here / f"..{name}").mkdir()
        for kind in ("key", "crt"):
            (here / f"{name}.{kind}").rename(here / f"..{name}" / f"server.{kind}")
    (here / "..data").symlink_to("..old")
    for kind in ("key", "crt"):
        (here / f"server.{kind}").unlink()
        (here / f"server.{kind}").symlink_to(f"..data/server.{kind}")
    memory = broker(authority)
    assert shown(memory, authority) == "old"
    (here / "..swap").symlink_to("..new")
    (here / "..swap").rename(here / "..data")
    memory.advance(INTERVAL)
    assert shown(memory, authority) == "new"


def test_at_once(authority: Authority) -> None:
    """Who says that something has changed need not wait."""
    memory = broker(authority)
    put(authority, "new")
    memory.broker.look_again()
    assert shown(memory, authority) == "new"


def test_nothing_is_looked_at_without_tls() -> None:
    """A broker without TLS has no timer for it, and no numbers."""
    memory = MemoryBroker()
    assert not memory.broker.renewal._looking.running
    assert numbers(memory) == {}


def test_it_stops(authority: Authority) -> None:
    """A broker that has stopped looks no more; a listener that comes later is looked at too."""
    clock = Clock()
    renewal = Renewal(clock)
    renewal.startService()
    assert not clock.getDelayedCalls()
    renewal.pair(f"{authority.directory}/server.key", f"{authority.directory}/server.crt", None, None)
    assert len(clock.getDelayedCalls()) == 1
    renewal.stopService()
    assert not clock.getDelayedCalls()


# -- not replaced -------------------------------------------------------------------------------------------------


def cut(authority: Authority) -> None:
    """Leave half of the new certificate behind the new key."""
    put(authority, "new", "key")
    half = (authority.directory / "new.crt").read_bytes()[:200]
    (authority.directory / "server.crt").write_bytes(half)


def cut_chain(authority: Authority) -> None:
    """Leave all of the new certificate, and half of the one behind it."""
    put(authority, "new")
    with (authority.directory / "server.crt").open("ab") as file:
        file.write(Path(authority.path).read_bytes()[:200])


def empty(authority: Authority) -> None:
    """Leave an empty file, as who opens one to write begins."""
    (authority.directory / "server.crt").write_bytes(b"")


def remove(authority: Authority) -> None:
    """Leave nothing."""
    (authority.directory / "server.key").unlink()


def key_only(authority: Authority) -> None:
    """Leave the new key beside the old certificate."""
    put(authority, "new", "key")


def certificate_only(authority: Authority) -> None:
    """Leave the old key beside the new certificate."""
    put(authority, "new", "crt")


def expire(authority: Authority) -> None:
    """Put a certificate there that is over."""
    authority.issue("server", "expired", expired=True)


def lock(authority: Authority) -> None:
    """Put the same key there with a password."""
    path = authority.directory / "server.key"
    key: Any = serialization.load_pem_private_key(path.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"word")
    formats = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(*formats, locked))


def pipe(authority: Authority) -> None:
    """Put something there that nobody can read from without waiting."""
    (authority.directory / "server.key").unlink()
    os.mkfifo(authority.directory / "server.key")


def swell(authority: Authority) -> None:
    """Put something there that has no end."""
    with (authority.directory / "server.crt").open("ab") as file:
        file.truncate(MAX_SIZE + 1)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (cut, "server.crt: Unable to load PEM file"),
        (cut_chain, "server.crt: the last certificate is not complete"),
        (empty, "server.crt: "),
        (remove, "expected a file that can be read ("),
        (key_only, "server.crt: they do not match"),
        (certificate_only, "server.crt: they do not match"),
        (expire, "expected a certificate that is valid now (it is valid from 20"),
        (lock, "server.key: this one has a password: openssl pkey -in "),
        (pipe, "expected a regular file ("),
        (swell, "server.crt is larger"),
    ],
)
def test_what_cannot_be_used(
    authority: Authority, lines: Callable[[], list[str]], spoil: Callable[[Authority], None], why: str
) -> None:
    """The old pair stays in use, which is said once and seen in the metrics, until there is a good one."""
    memory = broker(authority)
    spoil(authority)
    for _ in range(5):
        memory.advance(INTERVAL)
    assert shown(memory, authority) == "old"
    [line] = lines()
    assert "server.crt: what was read before stays in use: expected " in line
    assert why in line
    assert "\n" not in line
    assert numbers(memory)["broken"] == numbers(memory)["reload_failures_total"] == 1
    for kind in ("key", "crt"):
        (authority.directory / f"server.{kind}").unlink(missing_ok=True)
    put(authority, "new")
    memory.advance(INTERVAL)
    assert shown(memory, authority) == "new"
    assert (numbers(memory)["broken"], numbers(memory)["reloads_total"]) == (0, 1)


def test_it_is_taken_back(authority: Authority) -> None:
    """A change that is undone leaves nothing broken."""
    memory = broker(authority)
    (authority.directory / "server.key").rename(authority.directory / "away")
    memory.advance(INTERVAL)
    assert numbers(memory)["broken"] == 1
    (authority.directory / "away").rename(authority.directory / "server.key")
    memory.advance(INTERVAL)
    assert numbers(memory)["broken"] == 0
    assert shown(memory, authority) == "old"


def test_not_valid_yet(authority: Authority) -> None:
    """A certificate that begins tomorrow is taken tomorrow."""
    memory = broker(authority)
    authority.issue("server", "tomorrow", begins=1, days=90)
    memory.advance(INTERVAL)
    assert shown(memory, authority) == "old"
    memory.reactor.rightNow += DAY
    for _ in range(5):
        memory.advance(INTERVAL)
    assert memory.broker.renewal.kept[0].reloads == 1


def test_a_bug_costs_one_look(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, lines: Callable[[], list[str]]
) -> None:
    """Whatever goes wrong, the old pair stays, it is logged once, and tried again."""
    memory = broker(authority)
    put(authority, "new")
    with monkeypatch.context() as patch:
        patch.setattr("brokerkit.renewal.read_pair", lambda *_: 1 / 0)
        memory.advance(INTERVAL)
        memory.advance(INTERVAL)
    assert shown(memory, authority) == "old"
    assert ["because of a bug" in line for line in lines()] == [True]
    for _ in range(5):
        memory.advance(INTERVAL)
    assert shown(memory, authority) == "new"


# -- time ---------------------------------------------------------------------------------------------------------


def test_warnings(authority: Authority, lines: Callable[[], list[str]]) -> None:
    """It is said 14, 7, 3 and 1 days before the end, and then, once each; a new certificate begins anew."""
    authority.issue("server", "soon", days=15)
    memory = broker(authority)
    said = []
    for _ in range(4 * 16):
        memory.reactor.rightNow += DAY / 4
        memory.broker.renewal.look()
        memory.broker.renewal.look()
        said += lines()
    assert [line.partition(" days")[0].rpartition(" ")[2] for line in said[:-1]] == ["14.0", "7.0", "3.0", "1.0"]
    assert "has expired on 20" in said[-1]
    assert numbers(memory)["certificate_days"] < 0
    authority.issue("server", "again", days=20)
    memory.broker.renewal.look()
    assert [": the certificate expires in" in line for line in lines()] == [False, True]


def test_an_expired_one_at_the_start(authority: Authority, lines: Callable[[], list[str]]) -> None:
    """A broker starts with an expired certificate, since some clients do not look; and it says so."""
    authority.issue("server", "over", expired=True)
    memory = broker(authority)
    memory.advance(INTERVAL)
    assert "server.crt: the certificate has expired on 20" in lines()[0]
    authority.issue("server", "over as well", expired=True)
    memory.advance(INTERVAL)
    assert numbers(memory)["reloads_total"] == 1
    put(authority, "new")
    memory.advance(INTERVAL)
    assert shown(memory, authority) == "new"


# -- what may be in the files -------------------------------------------------------------------------------------


def test_rsa_and_one_file(authority: Authority) -> None:
    """The key may be RSA, and stand in the file of the certificate, before it or behind it."""
    authority.issue("server", "both", key=rsa.generate_private_key(65537, 2048))
    key, cert = ((authority.directory / f"server.{kind}").read_bytes() for kind in ("key", "crt"))
    for content in (key + cert, cert + key, b"a word\n" + cert + b"another\n" + key):
        (authority.directory / "server.pem").write_bytes(content)
        path = f"{authority.directory}/server.pem"
        memory = broker(authority, endpoint=f"tls:port={NATS}:key={path}:cert={path}")
        assert shown(memory, authority) == "both"


def test_a_chain(authority: Authority) -> None:
    """What stands behind the certificate is sent behind it, and is replaced with it."""
    memory = broker(authority)
    root = Path(authority.path).read_bytes()
    put(authority, "new")
    with (authority.directory / "server.crt").open("ab") as file:
        file.write(root)
    memory.advance(INTERVAL)
    assert shown(memory, authority) == "new"
    [kept] = memory.broker.renewal.kept
    assert len(kept.value[0].chain) == 1


@pytest.mark.parametrize(
    ("key", "cert", "why"),
    [
        ("old.key", "chain", "old.crt: the certificate of the key has to stand before the others"),
        ("two keys", "old.crt", "old.key: there are 2 in it"),
        ("short.key", "short.crt", "short.crt: "),
    ],
)
def test_unusable_pairs(authority: Authority, key: str, cert: str, why: str) -> None:
    """Each slip has its own words."""
    authority.issue("short", "short", key=rsa.generate_private_key(65537, 1024))  # noqa: S505  that is the point
    files = {name: (authority.directory / name).read_bytes() for name in ("old.key", "short.key", "short.crt")}
    old, root = (authority.directory / "old.crt").read_bytes(), Path(authority.path).read_bytes()
    files["old.crt"] = root + old if cert == "chain" else old
    if key == "two keys":
        files["old.key"] += files["short.key"]
    name = "short" if key == "short.key" else "old"
    with pytest.raises(Unfit, match=why):
        read_pair(files, f"{name}.key", f"{name}.crt")


def test_old_tls_is_refused(authority: Authority) -> None:
    """TLS 1.2 is the oldest that is spoken, with none but ciphers that have forward secrecy."""
    import ssl

    memory = broker(authority)
    context = client_context(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    cipher = TLSPeer(memory, NATS, context)._tls.cipher()
    assert cipher is not None
    assert cipher[0].startswith("ECDHE-")
    context.set_ciphers("RSA+AESGCM:ECDHE+AES:!ECDHE+AESGCM")
    assert TLSPeer(memory, NATS, context).failure is not None


def test_alpn(authority: Authority) -> None:
    """A client that offers protocols by ALPN, as browsers do, is served and goes on without one."""
    context = client_context(authority)
    context.set_alpn_protocols(["h2", "http/1.1"])
    peer = TLSPeer(broker(authority), NATS, context)
    assert peer.failure is None
    assert peer._tls.version() is not None
    assert peer._tls.selected_alpn_protocol() is None


def test_the_start(authority: Authority) -> None:
    """A pair that cannot be used ends the start, in one line that names the file."""
    put(authority, "new", "key")
    with pytest.raises(ConfigError, match=r"listen\[\d\]: endpoint: .*server.key, .*server.crt: they do not match"):
        broker(authority)
    lock(authority)
    with pytest.raises(ConfigError, match=r"expected a private key without a password in PEM \(.*server.key: "):
        broker(authority)


# -- authorities --------------------------------------------------------------------------------------------------


def test_another_authority(authority: Authority, lines: Callable[[], list[str]]) -> None:
    """The file of the clients' authorities is looked at likewise: who was let in is not, and the other way round."""
    other = Authority(authority.directory, "other")
    other.issue("stranger", "ann")
    authority.issue("ann", "ann")
    trusted = authority.directory / "clients.crt"
    trusted.write_bytes(Path(authority.path).read_bytes())
    memory = broker(authority, client_ca=str(trusted), certificate_user="cn")

    def gets_in(name: str) -> bool:
        return b"INFO" in TLSPeer(memory, NATS, client_context(authority, name)).text

    assert (gets_in("ann"), gets_in("stranger")) == (True, False)
    trusted.write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    memory.advance(INTERVAL)
    assert (gets_in("ann"), gets_in("stranger")) == (True, False)
    trusted.write_bytes(Path(other.path).read_bytes())
    memory.advance(INTERVAL)
    assert (gets_in("ann"), gets_in("stranger")) == (False, True)
    assert [line.rpartition("clients.crt: ")[0][-30:] != "" for line in lines()] == [True, True]


def test_an_authority_does_not_hold_up_a_pair(authority: Authority) -> None:
    """A pair is renewed also while the file of authorities cannot be used."""
    authority.issue("ann", "ann")
    trusted = authority.directory / "clients.crt"
    trusted.write_bytes(Path(authority.path).read_bytes())
    memory = broker(authority, client_ca=str(trusted))
    trusted.unlink()
    put(authority, "new")
    memory.advance(INTERVAL)
    made = TLSPeer(memory, NATS, client_context(authority, "ann"))
    assert (name_of(made._tls), made.failure) == ("new", None)


# -- directories --------------------------------------------------------------------------------------------------


def named(memory: MemoryBroker, authority: Authority, name: str) -> str:
    """Give the common name that a client is shown which asks for a name, or for none."""
    return name_of(TLSPeer(memory, NATS, client_context(authority), name or None)._tls)


def as_pem(authority: Authority, name: str, to: str, *names: str, days: float = 90) -> None:
    """Issue a certificate for names, and write it with its key into one file of the directory ``pem``."""
    authority.issue(name, name, [x509.DNSName(one) for one in names], days=days)
    content = [(authority.directory / f"{name}.{kind}").read_bytes() for kind in ("crt", "key")]
    (authority.directory / "pem").mkdir(exist_ok=True)
    (authority.directory / "pem" / to).write_bytes(b"".join(content))


def test_a_directory(authority: Authority, lines: Callable[[], list[str]]) -> None:
    """Each client gets the certificate of the name that it asks for, and a renewed one from then on."""
    as_pem(authority, "one", "one.pem", "one.example", "*.wild.example", days=80)
    as_pem(authority, "two", "two.pem", "two.example")
    memory = broker(authority, endpoint=f"tls:{authority.directory}/pem:{NATS}")
    asked = ("one.example", "TWO.example", "a.wild.example", "b.a.wild.example", "none.example", "")

    def served() -> list[str]:
        return [named(memory, authority, name) for name in asked]

    assert served() == ["one", "two", "one", "one", "one", "one"]
    as_pem(authority, "newer", "one.pem", "one.example", days=90)
    as_pem(authority, "three", "three.pem", "none.example", days=70)
    memory.advance(INTERVAL)
    assert served()[0] == "newer"
    assert served()[4] == "three"
    (authority.directory / "pem" / "three.pem").write_bytes((authority.directory / "old.key").read_bytes())
    lines()
    memory.advance(INTERVAL)
    assert "three.pem: there is no certificate of this key" in lines()[0]
    assert served()[4] == "three"


def test_a_directory_that_asks_for_certificates(authority: Authority) -> None:
    """Whichever name is asked for, or none: who shows no certificate of the authority gets nowhere."""
    for name in ("one", "two"):
        as_pem(authority, name, f"{name}.pem", f"{name}.example")
    authority.issue("ann", "ann")
    Authority(authority.directory, "other").issue("stranger", "ann")
    memory = broker(
        authority, endpoint=f"tls:{authority.directory}/pem:{NATS}", client_ca=authority.path, certificate_user="cn"
    )
    for name in ("one.example", "two.example", "none.example", None):
        greeted = [
            b"INFO" in TLSPeer(memory, NATS, client_context(authority, who), name).text
            for who in ("ann", "stranger", "")
        ]
        assert greeted == [True, False, False], name


def test_two_of_one_name(authority: Authority, lines: Callable[[], list[str]]) -> None:
    """Of two certificates with one name the one that is valid longer is served, and nobody warns of the other."""
    as_pem(authority, "past", "1.pem", "one.example", days=2)
    as_pem(authority, "other", "2.pem", "two.example", days=99)
    as_pem(authority, "present", "3.pem", "one.example", days=90)
    memory = broker(authority, endpoint=f"tls:{authority.directory}/pem:{NATS}")
    memory.advance(INTERVAL)
    assert [named(memory, authority, name) for name in ("one.example", "")] == ["present", "present"]
    assert lines() == []
    as_pem(authority, "bad", "2.pem", "two.example", days=-0.5)
    (authority.directory / "pem" / "3.pem").unlink()
    memory.advance(INTERVAL)
    assert "what was read before stays in use" in lines()[0]
    assert named(memory, authority, "two.example") == "other"
    as_pem(authority, "good", "2.pem", "two.example", days=20)
    memory.advance(INTERVAL)
    assert [named(memory, authority, name) for name in ("one.example", "two.example")] == ["past", "good"]


def test_the_chain_of_a_directory(authority: Authority) -> None:
    """A certificate is sent with those of the directory that lead to its root, and with no others."""
    from brokerkit.pem import read_directory

    between = Authority(authority.directory, "between", above=authority)
    as_pem(between, "leaf", "leaf.pem", "one.example")
    files = {"leaf": (authority.directory / "pem" / "leaf.pem").read_bytes()}
    files |= {name: (authority.directory / f"{name}.crt").read_bytes() for name in ("between", "authority", "new")}
    [pair] = read_directory(files, "pem")
    assert pair.chain == (between.certificate,)


def test_a_directory_of_links(authority: Authority) -> None:
    """What Kubernetes mounts, links to a hidden directory, is read once; what is not *.pem is not read."""
    as_pem(authority, "one", "one.pem", "one.example")
    here = authority.directory / "pem"
    (here / "..data").mkdir()
    (here / "one.pem").rename(here / "..data" / "one.pem")
    (here / "one.pem").symlink_to("..data/one.pem")
    (here / "README").write_text("-----BEGIN")
    memory = broker(authority, endpoint=f"tls:{here}:{NATS}")
    [kept] = [one for one in memory.broker.renewal.kept if one.name == str(here)]
    assert len(kept.value) == 1


@pytest.mark.parametrize(
    ("content", "why"), [([], "there is no key in it"), (["x"] * (MAX_FILES + 1), "there are more")]
)
def test_directories_that_cannot_be_used(authority: Authority, content: list[str], why: str) -> None:
    """An empty directory, and one that is no place for certificates, end the start."""
    here = authority.directory / "pem"
    here.mkdir()
    for i, text in enumerate(content):
        (here / f"{i}.pem").write_text(text)
    with pytest.raises(ConfigError, match=why):
        broker(authority, endpoint=f"tls:{here}:{NATS}")
