"""What a configuration file of nats-server means here, and what of it is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from brokerkit.errors import OperatorError
from brokerkit.grants import PUBLISH, SUBSCRIBE, Responses
from brokerkit.protocols.nats.conf import durations
from brokerkit.protocols.nats.conf.parse import parse
from brokerkit.protocols.nats.conf.people import ServerUsers, everybody
from brokerkit.protocols.nats.conf.plan import plan
from brokerkit.protocols.nats.conf.reader import KEYS, read_file, read_value
from brokerkit.tenant import Destination, Export, Import, Mapping, Tenant
from tests.certificates import Authority

if TYPE_CHECKING:
    from brokerkit.protocols.nats.conf.server import Server

NKEY = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"


def server(text: str, *, lenient: bool = False) -> Server:
    """Give what a text says."""
    return read_value(parse(text, "a.conf", {}), "a.conf", lenient=lenient)


def wrong(text: str, *, lenient: bool = False) -> list[str]:
    """Give the lines that are said against a text."""
    with pytest.raises(OperatorError) as caught:
        plan(server(text, lenient=lenient))
    return str(caught.value).split("\n")


def config(text: str) -> Any:
    """Give the configuration that becomes of a text."""
    return plan(server(text))


# -- the listener for clients -------------------------------------------------------------------------------------


def test_defaults() -> None:
    """With next to nothing said, everything is as in nats-server."""
    (listen,) = config("debug: false").listen
    assert (listen.protocol, listen.endpoint) == ("nats", "tcp:port=4222:interface=0.0.0.0")
    settings = listen.settings
    assert (settings.max_payload, settings.max_control_line, settings.ping_interval) == (1048576, 4096, 120.0)
    assert (settings.outbox_limit, settings.outbox_deadline, settings.max_connections) == (
        64 * 1024 * 1024,
        10.0,
        65536,
    )
    assert (settings.login_timeout, settings.lame_duck_duration, settings.lame_duck_grace_period) == (2.0, 120.0, 10.0)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("port: 4333", "tcp:port=4333:interface=0.0.0.0"),
        ("PORT: 4333", "tcp:port=4333:interface=0.0.0.0"),
        ("listen: 4333", "tcp:port=4333:interface=0.0.0.0"),
        ("listen: 127.0.0.1:4333", "tcp:port=4333:interface=127.0.0.1"),
        ("listen: ':4333'", "tcp:port=4333:interface=0.0.0.0"),
        ("listen: '[::1]:4333'", r"tcp:port=4333:interface=\:\:1"),
        ("net: 127.0.0.1\nport: -1", "tcp:port=0:interface=127.0.0.1"),
        ("host: localhost\nport: 1", "tcp:port=1:interface=127.0.0.1"),
    ],
)
def test_where_it_listens(text: str, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Host and port are read in all of their spellings; -1 is any port, a name becomes its address."""
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 0))])
    assert config(text).listen[0].endpoint == endpoint


def test_limits() -> None:
    """Sizes and times arrive at the listener; 0, and less, stand for what is usual or for no bound."""
    text = """
        server_name: here, client_advertise: "example.com:4222"
        max_payload: 2kb; max_pending: 1m; max_conn: 7; max_subs: 5; max_control_line: 1ki
        ping_interval: "1m30s", ping_max: 4, write_deadline: "500ms"
        lame_duck_duration: 40s, lame_duck_grace_period: 5s
        authorization { timeout: 3 }
    """
    settings = config(text).listen[0].settings
    assert (settings.server_name, settings.client_advertise) == ("here", "example.com:4222")
    assert (settings.max_payload, settings.outbox_limit, settings.max_control_line) == (2048, 1000000, 1024)
    assert (settings.max_connections, settings.max_connections_per_address, settings.max_subscriptions) == (7, 7, 5)
    assert (settings.ping_interval, settings.ping_max, settings.outbox_deadline) == (90.0, 4, 0.5)
    assert (settings.lame_duck_duration, settings.lame_duck_grace_period, settings.login_timeout) == (40.0, 5.0, 3.0)
    unbound = config("max_connections: -1\nmax_subscriptions: 0\nmax_payload: 0").listen[0].settings
    assert (unbound.max_connections, unbound.max_subscriptions, unbound.max_payload) == (2**31 - 1, 2**31 - 1, 1048576)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("1h30m", 5400), ("300ms", 0.3), ("1.5s", 1.5), ("-1s", -1), ("0", 0), ("2us", 2e-6)],
)
def test_durations(text: str, seconds: float) -> None:
    """They are written as in Go."""
    assert durations.seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "10", "s", "1x", "1s2", "1 s", "999999999h"])
def test_what_is_no_duration(text: str) -> None:
    """A number without a unit is none, nor is what ends too late."""
    with pytest.raises(ValueError, match="duration"):
        durations.seconds(text)


# -- users --------------------------------------------------------------------------------------------------------


def known(text: str) -> dict[str, Any]:
    """Give the users of a text, by name, as the source of users knows them."""
    source = ServerUsers(server(text))
    return {name.decode(): one for name, one in source.users(source.names()).items()}


def may(one: Any, action: str, name: bytes) -> bool:
    """Say whether a user may do something."""
    allowed: bool = one.user.grants.permits(action, name)
    return allowed


def test_everybody() -> None:
    """Where nobody is named, everybody may come in; where somebody is, nobody else may."""
    assert ServerUsers(server("port: 4")).is_open
    for text in (
        "authorization { user: a, password: b }",
        "authorization { token: b }",
        "authorization { users: [{user: a, password: b}] }",
        "accounts { A { users: [{user: a, password: b}] } }",
    ):
        assert not ServerUsers(server(text)).is_open
    assert ServerUsers(server("accounts { A { } }")).is_open


def test_secrets() -> None:
    """Passwords and tokens are plain or hashed, and keys are keys."""
    hashed = "$2a$04$abcdefghijklmnopqrstuuJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJJ"
    found = known(
        f"authorization {{ users: [{{user: a, pass: b}}\n{{username: c, password: {hashed}}}\n{{nkey: {NKEY}}}] }}"
    )
    assert (found["a"].secret, found["a"].password_hash) == (b"b", "")
    assert (found["c"].secret, found["c"].password_hash) == (b"", hashed)
    assert found[NKEY].public_keys == (NKEY,)
    assert known("authorization { token: b }")["token"].token == b"b"
    assert known(f"authorization {{ token: {hashed} }}")["token"].token_hash == hashed


def test_no_secret_is_shown() -> None:
    """What holds passwords does not show them."""
    found = server(
        "authorization { users: [{user: a, password: hidden}] }\n"
        "accounts { A { users: [{user: b, password: hidden}] } }"
    )
    assert "hidden" not in repr(found)
    assert "hidden" not in repr(server("authorization { token: hidden }"))


def test_permissions() -> None:
    """What is not said is allowed; a list of what is allowed ends that, denial wins, queues may be named."""
    text = """authorization { users: [
        {user: all, password: x}
        {user: some, password: x, permissions: { publish: "a.>", subscribe: { allow: ["b.*", "c q1"], deny: "b.x" } }}
        {user: not, password: x, permissions: { pub: { deny: ["a.b"] } }}
        {user: answers, password: x, permissions: { subscribe: svc, allow_responses: { max: 3, expires: "1m" } }}
        {user: once, password: x, permission: { allow_responses: true }}
    ] }"""
    found = known(text)
    assert may(found["all"], PUBLISH, b"x")
    assert may(found["all"], SUBSCRIBE, b"x")
    some = found["some"]
    assert [may(some, PUBLISH, name) for name in (b"a.b", b"b")] == [True, False]
    assert [may(some, SUBSCRIBE, name) for name in (b"b.a", b"b.x", b"a")] == [True, False, False]
    assert [may(found["not"], PUBLISH, name) for name in (b"a.b", b"b")] == [False, True]
    assert found["answers"].user.grants.responses == Responses(3, 60.0)
    assert not may(found["answers"], PUBLISH, b"x")
    assert found["once"].user.grants.responses == Responses(1, 120.0)


def test_default_permissions() -> None:
    """They are for those who have none of their own, in the block and in the account."""
    text = """
        authorization { default_permissions: { publish: d }, users: [
            {user: a, password: x}, {user: b, password: x, permissions: { publish: own }} ] }
        accounts { A { default_permissions: { publish: acc }, users: [{user: c, password: x}] } }
    """
    found = known(text)
    assert [name for name in found if may(found[name], PUBLISH, b"d")] == ["a"]
    assert [name for name in found if may(found[name], PUBLISH, b"own")] == ["b"]
    assert [name for name in found if may(found[name], PUBLISH, b"acc")] == ["c"]


def test_connection_types() -> None:
    """How a user may come is said in nats-server's words, in any case; what is not served lets nobody in."""
    found = known(
        "authorization { users: [{user: a, password: b, allowed_connection_types: [standard, WEBSOCKET, MQTT]}] }"
    )
    assert found["a"].user.protocols == ("nats", "nats-websocket", "mqtt")


def test_no_auth_user() -> None:
    """It arrives at the listener, and has to be somebody."""
    text = "accounts { A { users: [{user: a, password: b}] } }\nno_auth_user: a"
    assert config(text).listen[0].no_auth_user == "a"
    assert wrong("no_auth_user: x") == ['a.conf: no_auth_user: "x" is no user of this file']


# -- accounts -----------------------------------------------------------------------------------------------------


def test_accounts() -> None:
    """Accounts become tenants, with users, exports, imports, mappings and limits."""
    text = """
        system_account: ADMIN
        mappings { "a.*": "b.$1" }
        accounts {
            ADMIN { users: [{user: root, password: x}] }
            A { exports: [{stream: "x.>"}, {service: svc, response: Stream, accounts: [B]}], jetstream: enabled
                users: [{user: a, password: x}]
                limits { max_conn: 3, max_subscriptions: 4, max_payload: 5k, max_leafnodes: 1 } }
            B { imports: [{stream: {account: A, subject: "x.>"}, prefix: fromA}
                          {service: {account: A, subject: svc}, to: mine}]
                mappings { c: [{destination: d, weight: 50%}, {destination: e, weight: 10}] } }
        }"""
    found = {tenant.name: tenant for tenant in config(text).tenants}
    assert list(found) == ["", "$SYS", "A", "B"]
    assert found[""].mappings == (Mapping(b"a.*", (Destination(b"b.$1"),)),)
    assert found["A"] == Tenant(
        "A", (Export("stream", b"x.>"), Export("service", b"svc", ("B",), "stream")), (), (), 3, 4, 5000
    )
    assert found["B"].imports == (Import("stream", "A", b"x.>", b"fromA"), Import("service", "A", b"svc", b"", b"mine"))
    assert found["B"].mappings == (Mapping(b"c", (Destination(b"d", 50), Destination(b"e", 10))),)
    users = known(text)
    assert (users["root"].user.tenant, users["a"].user.tenant) == ("$SYS", "A")
    assert server(text).warnings == ['a.conf:6:94: "jetstream": brokerkit has no JetStream; ignored']


def test_names_of_accounts() -> None:
    """A list of names makes accounts with nothing said of them."""
    assert [tenant.name for tenant in config("accounts: [A, B]").tenants] == ["", "A", "B"]


# -- TLS and WebSocket --------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> str:
    """Give a certificate, its key and its authority, as nats-server writes them."""
    Authority(tmp_path).issue("broker", "broker")
    paths = {"cert_file": "broker.crt", "key_file": "broker.key", "ca_file": "authority.crt"}
    return ", ".join(f"{key}: '{tmp_path / name}'" for key, name in paths.items())


def test_tls(pair: str) -> None:
    """TLS begins after INFO, or first, or as the client likes; plain text may stand beside it."""
    listen = config(f"port: 1\ntls {{ {pair}, timeout: 1.5 }}").listen[0]
    assert re.fullmatch(r"tls:port=1:interface=0\.0\.0\.0:key=.*/broker\.key:cert=.*/broker\.crt", listen.endpoint)
    assert (listen.client_ca, listen.settings.handshake, listen.settings.plain) == (None, "after-info", False)
    assert (listen.settings.tls_timeout, listen.settings.login_timeout) == (1.5, 2.5)
    verified = config(f"tls {{ {pair}, verify: true, pinned_certs: ['{'a' * 64}'] }}").listen[0]
    assert verified.client_ca is not None
    assert verified.client_ca.endswith("authority.crt")
    assert (verified.certificate_user, verified.settings.pinned_certs) == (None, ("a" * 64,))
    assert config(f"tls {{ {pair}, verify_and_map: true }}").listen[0].certificate_user is not None
    ways = {
        word: config(f"tls {{ {pair}, handshake_first: {word} }}").listen[0].settings
        for word in ("true", "auto", "300ms", "no")
    }
    assert [one.handshake for one in ways.values()] == ["first", "auto", "auto", "after-info"]
    assert ways["300ms"].handshake_fallback == pytest.approx(0.3)
    assert config(f"tls {{ {pair} }}\nallow_non_tls: true").listen[0].settings.plain


def test_websocket(pair: str) -> None:
    """Browsers get a listener of their own; it has TLS, or says that it has none."""
    text = """websocket { listen: "127.0.0.1:8080", no_tls: true, same_origin: true, allowed_origins: ["https://a.example"]
        compression: true, handshake_timeout: 3s, jwt_cookie: j, user_cookie: u, pass_cookie: p, token_cookie: t }"""
    clients, browsers = config(text).listen
    assert (browsers.protocol, browsers.endpoint) == ("nats-websocket", "tcp:port=8080:interface=127.0.0.1")
    found = browsers.settings
    assert (found.no_tls, found.same_origin, found.allowed_origins, found.compression) == (
        True,
        True,
        ("https://a.example",),
        True,
    )
    assert (found.jwt_cookie, found.user_cookie, found.pass_cookie, found.token_cookie) == ("j", "u", "p", "t")
    assert found.handshake_timeout == 3.0
    assert found.max_payload == clients.settings.max_payload
    assert config(f"websocket {{ port: 1, tls {{ {pair} }} }}").listen[1].endpoint.startswith("tls:port=1:")
    assert len(config("websocket { }").listen) == 1


def test_monitoring(pair: str) -> None:
    """Its pages are where clients are, unless a host is said."""
    for text in ("http: 8222", "http_port: 8222", "monitor_port: 8222"):
        assert config(f"host: 127.0.0.1\n{text}").listen[1].endpoint == "tcp:port=8222:interface=127.0.0.1"
    both = config(f"http: '127.0.0.1:1'\nhttps: 2\nhttp_base_path: /nats\ntls {{ {pair} }}").listen
    assert [one.protocol for one in both] == ["nats", "nats-monitor", "nats-monitor"]
    assert both[2].endpoint.startswith("tls:port=2:")
    assert both[1].settings.http_base_path == "/nats"
    assert wrong("https: 1") == ["a.conf: https needs tls { } with a certificate"]


# -- what is refused ----------------------------------------------------------------------------------------------


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Each thing has a line with its place; one look mends a file."""
    assert wrong("max_payloads: 1\nmax_payload: '1MB'\n\nauthorization { user: 3 }\nfrobnicate: 1") == [
        'a.conf:1:1: unknown field "max_payloads", did you mean max_payload?',
        "a.conf:2:14: found a text, expected a whole number",
        "a.conf:4:23: found a whole number, expected a text",
        'a.conf:5:1: unknown field "frobnicate"',
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port: 99999", "a port from 0 to 65535"),
        ("port: '4'", "expected a whole number"),
        ("listen: localhost", "HOST:PORT"),
        ("debug: 1", "expected true or false"),
        ("server_name: 'a b'", "without blanks"),
        ("ping_interval: 1x", "a duration such as 10s"),
        ("max_payload: 3g", "at most 2147483647"),
        ("max_payload: 2000\nmax_pending: 1000", "cannot be higher"),
        ("lame_duck_duration: 10s", "at least 30s"),
        ("lame_duck_duration: 30s\nlame_duck_grace_period: 30s", "has to be lower"),
        ("authorization { user: a, token: b }", "exclude each other"),
        ("authorization { user: a, users: [{user: b}] }", "excludes a single user"),
        ("authorization { users: [{user: a}, {user: a}] }", "is there already"),
        ("authorization { users: [{user: a}] }\naccounts { A { users: [{user: a}] } }", "is there already"),
        ("authorization { users: [{nkey: UX}] }", "public nkey of a user"),
        (f"authorization {{ users: [{{nkey: {NKEY}, user: a}}] }}", "no name and no password"),
        ("authorization { users: [{password: a}] }", "needs a name or an nkey"),
        ("authorization { users: [{user: a, permissions: {publish: 'a..b'}}] }", "not a valid subject"),
        ("authorization { users: [{user: a, permissions: {publish: 'a q'}}] }", "not a valid subject"),
        ("authorization { users: [{user: a, permissions: {publish: {alow: a}}}] }", "did you mean allow?"),
        ("authorization { users: [{user: a, allowed_connection_types: [X]}] }", "no connection type"),
        ("authorization { token: a }\naccounts { A { users: [{user: a}] } }", "exclude each other"),
        ("system_account: A", "is not defined"),
        ("accounts { $G { } }", "always there"),
        ("accounts { A: 3 }", "expected a map"),
        ("accounts { A { users: {} } }", "expected a list"),
        ("accounts { A { exports: [{stream: x, service: y}] } }", "one stream or one service"),
        ("accounts { A { exports: [{stream: x, response: stream}] } }", "only a service has"),
        ("accounts { A { exports: [{service: x, response: foo}] } }", "singleton, stream, chunked"),
        ("accounts { A { exports: [{stream: x, accounts: [B]}] } }", 'the account "B" is not defined'),
        ("accounts { A { }, B { imports: [{stream: {account: A, subject: x}}] } }", "is not exported to"),
        ("accounts { B { imports: [{stream: {account: A, subject: x}}] } }", 'the account "A" is not defined'),
        (
            ("accounts { A { exports: [{stream: x, accounts: [A]}] }, C { }, "
             "B { imports: [{stream: {account: A, subject: x}}] } }"),
            'is not exported to "B"',
        ),
        ("accounts { B { imports: [{stream: {account: A, subject: x}, prefix: p, to: q}] } }", "not both"),
        ("mappings { a: [{destination: b, weight: 60}, {destination: c, weight: 50}] }", "100"),
        ("mappings { a: {destination: b, weight: 101} }", "from 0 to 100"),
        ("mappings { 'a.*': 'b.$2' }", "a.conf:1:12"),
        ("tls { }", "cert_file and key_file are missing"),
        ("tls { cert_file: /nonexistent }", "cannot be read"),
        ("websocket { port: 1 }", 'needs "tls"'),
        ("websocket { port: 1, no_tls: true, authorization { user: a } }", "not supported"),
        ("resolver: URL(http://x)", "a URL is not supported"),
        ("trusted_keys: x", "public nkey of an operator"),
        (f"trusted_keys: {'O' + 'A' * 55}", "public nkey of an operator"),
        ("authorization { proxy_required: true }", "trusted proxy"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(text: str, words: str) -> None:
    """It is refused, leniently too, since to ignore it would change who may do what."""
    assert any(words in line for line in wrong(text))
    assert any(words in line for line in wrong(text, lenient=True))


@pytest.mark.parametrize(
    "text",
    [
        "cluster { name: x }", "gateway { name: x }", "leafnodes { port: 1 }", "mqtt { port: 1 }", "jetstream: true",
        "jetstream { store_dir: x }", "syslog: true", "max_subscription_tokens: 5", "ocsp: true",
    ],
)  # fmt: skip
def test_what_is_not_supported(text: str) -> None:
    """It is named with its place: an error, or for whoever is lenient a warning."""
    (line,) = wrong(f"port: 1\n{text}")
    assert line.startswith(f'a.conf:2:1: "{text.split(maxsplit=1)[0].rstrip(":")}"')
    assert line.endswith("--lenient starts without")
    (warning,) = server(f"port: 1\n{text}", lenient=True).warnings
    assert warning.startswith("a.conf:2:1: ")
    assert warning.endswith("ignored")


@pytest.mark.parametrize(
    "text", ["jetstream: false", "jetstream: disabled", "syslog: false", "connect_error_reports: 3", "prof_port: 0"]
)
def test_what_is_harmless(text: str) -> None:
    """What is switched off, or makes no difference, is taken without a word."""
    assert server(text).warnings == []


def test_a_file(tmp_path: Path) -> None:
    """A file is read, and one that says nothing is refused, as by nats-server."""
    path = tmp_path / "a.conf"
    path.write_text("port: 4\nlog_file: x; pid_file: y\nlogtime: false", encoding="utf-8")
    found = read_file(str(path))
    assert (found.port, found.log_file, found.pid_file, found.logtime, found.source) == (4, "x", "y", False, str(path))
    assert found.digest.startswith("sha256:")
    path.write_text("# nothing", encoding="utf-8")
    with pytest.raises(OperatorError, match="says nothing"):
        read_file(str(path))


def test_every_key_is_in_the_documentation() -> None:
    """The page for those who come from nats-server names all top-level keys that are read."""
    page = (Path(__file__).parents[4] / "docs" / "migrate-nats-server.md").read_text(encoding="utf-8")
    assert [key for key in KEYS if f"`{key}`" not in page] == []


def test_a_line_that_has_moved_is_no_change() -> None:
    """What is compared at a reload is what is said, not where."""
    text = "accounts { A { exports: [{stream: x}], users: [{user: a, password: b}] } }"
    assert server(text).accounts == server(f"\n\n{text}").accounts
    assert list(everybody(server(text))) == list(everybody(server(f" {text}")))
