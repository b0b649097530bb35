"""Tokens: only what this broker has signed counts, for as long as it is good and its user is known."""

from __future__ import annotations

import json
import stat
from base64 import b64encode, urlsafe_b64encode
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from brokerkit.checkers.known import allowed
from brokerkit.errors import ConfigError
from brokerkit.protocols.kafka_rest import tokens
from brokerkit.protocols.kafka_rest.tokens import BadToken, Tokens
from tests.protocols.kafka_rest.kastlex_world import World, finished, hashes
from tests.talk import Line

if TYPE_CHECKING:
    from pathlib import Path

KEY = ec.generate_private_key(ec.SECP521R1())
NOW = 1_800_000_000
CLAIMS: dict[str, Any] = {
    "iss": "Kastlex",
    "sub": "user:admin",
    "aud": "user:admin",
    "typ": "access",
    "iat": NOW,
    "exp": NOW + 60,
    "jti": "x",
}


def _part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _public() -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return KEY.public_key().public_bytes(serialization.Encoding.PEM, form)


def _signed_with_the_public_key() -> str:
    """Give a token whose MAC is made with the public key: what confuses careless libraries."""
    import hmac

    text = f"{_part({'alg': 'HS512', 'typ': 'JWT'})}.{_part(CLAIMS)}"
    mac = hmac.new(_public(), text.encode(), "sha512").digest()
    return f"{text}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _signed(key: Any = KEY, algorithm: str = "ES512", **changes: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not ...}
    return jwt.encode(claims, key, algorithm)


GOOD = _signed()
FALSE = {
    "none": f"{_part({'alg': 'none'})}.{_part(CLAIMS)}.",
    "none in capitals": f"{_part({'alg': 'NONE'})}.{_part(CLAIMS)}.",
    "no signature": GOOD.rpartition(".")[0] + ".",
    "another's signature": _signed(ec.generate_private_key(ec.SECP521R1())),
    "the public key as a secret": _signed_with_the_public_key(),
    "another algorithm": _signed(ec.generate_private_key(ec.SECP256R1()), "ES256"),
    "other claims": ".".join([GOOD.split(".")[0], _part({**CLAIMS, "sub": "user:root"}), GOOD.split(".")[2]]),
    "another issuer": _signed(iss="Other"),
    "no issuer": _signed(iss=...),
    "no subject": _signed(sub=...),
    "a subject that is no user": _signed(sub="admin", aud="admin"),
    "another audience": _signed(aud="user:root"),
    "no audience": _signed(aud=...),
    "no expiry": _signed(exp=...),
    "an expiry that is no number": f"{_part({'alg': 'ES512'})}.{_part({**CLAIMS, 'exp': 'x'})}.{GOOD.split('.')[2]}",
    "another kind": _signed(typ="refresh"),
    "nothing": "..",
    "junk": f"{_part({'alg': 'ES512'})}.{'%' * 20}.AAAA",
}


@pytest.mark.parametrize("name", FALSE)
def test_false_tokens(name: str) -> None:
    """Whatever is wrong with it, it is refused."""
    with pytest.raises(BadToken):
        tokens.read(FALSE[name], KEY.public_key())


def test_a_good_token() -> None:
    """It says whose it is, and until when it is good; what makes the false ones false is what was changed."""
    claims = tokens.read(GOOD, KEY.public_key())
    assert (claims.name, claims.expires) == ("admin", NOW + 60)


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_junk(text: str | bytes) -> None:
    """No text is an error of another kind."""
    with pytest.raises(BadToken):
        tokens.read(text, KEY.public_key())
    tokens.is_jwt(text if isinstance(text, bytes) else text.encode())


def test_time() -> None:
    """A token is good until its moment, by the broker's clock."""
    clock = Clock()
    clock.rightNow = NOW
    made = Tokens(KEY, clock, 60)
    token = finished(made.make("ann"))
    clock.advance(59)
    assert finished(made.check(token)).name == "ann"
    clock.advance(1)
    with pytest.raises(BadToken, match="expired"):
        finished(made.check(token))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give KastleX's API, with this module's key."""
    form = serialization.PrivateFormat.PKCS8
    pem = KEY.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    return World(tmp_path, jwk_file=str(tmp_path / "key.pem"))


@pytest.mark.parametrize("name", [*FALSE, "expired"])
def test_false_tokens_over_http(world: World, name: str) -> None:
    """401, also where anonymous would be let in; and no word of why."""
    token = FALSE.get(name) or _signed(exp=NOW - 1)
    reply = world.get("/api/v1/topics", Authorization=f"Bearer {token}")
    assert (reply.status, reply.json["error"]) == (401, "Unauthenticated")


def test_a_token_of_a_removed_user(world: World) -> None:
    """401, at once for what is new and within seconds for who has been here; never silently anonymous."""
    user = world.login("user1")
    assert world.post("/api/v1/messages/kastlex", b"x", **user).status == 204
    world.passwd.write_text(hashes({"admin": "admin"}))
    world.permissions.write_text("anonymous:\n  list_topics: true\n")
    world.reread()
    world.advance(2)
    assert world.get("/api/v1/topics", **user).status == 401
    assert world.get("/api/v1/topics").status == 200


def test_who_tries_tokens_is_slowed_down(world: World) -> None:
    """Checking a signature takes time: after many false ones from an address it is 429, elsewhere it is not."""
    line = Line(world.service.site, "192.0.2.66")
    seen = [
        line.ask("GET", "/api/v1/topics", headers={"Authorization": f"Bearer {_signed(jti=i, iss='x')}"}).status
        for i in range(105)
    ]
    assert seen[0] == 401
    assert seen[-1] == 429
    assert world.get("/api/v1/topics", Authorization=f"Bearer {GOOD}").status in {200, 403}


@pytest.mark.parametrize(
    "value", ["Basic", "Basic !", "Basic " + b64encode(b"nocolon").decode(), "Bearer " + "x" * 9000]
)
def test_odd_authorization(world: World, value: str) -> None:
    """What cannot be read is 401; a scheme that nobody knows is as nothing shown."""
    assert world.get("/api/v1/topics", Authorization=value).status == (200 if value == "Basic" else 401)
    assert world.get("/api/v1/topics", Authorization="Digest x").status == 200


def test_passwords_with_each_request(world: World) -> None:
    """Basic is taken, too."""
    shown = {"Authorization": "Basic " + b64encode(b"user1:user1").decode()}
    assert world.post("/api/v1/messages/kastlex", b"x", **shown).status == 204
    wrong = {"Authorization": "Basic " + b64encode(b"user1:other").decode()}
    assert world.post("/api/v1/messages/kastlex", b"x", **wrong).status == 401


def test_users_of_other_sources(world: World) -> None:
    """A user whose source knows nothing of KastleX's actions may see what it may publish or subscribe to."""
    world.make("mine")
    world.make("theirs")
    world.memory.source.put("bob", "secret", allowed(publish=[b"mine"], subscribe=[b"kastlex"]))
    shown = {"Authorization": "Basic " + b64encode(b"bob:secret").decode()}
    assert world.get("/api/v1/topics", **shown).json == ["kastlex", "mine"]
    assert world.get("/api/v1/offsets/mine/0", **shown).json == {"offset": 0}
    assert world.get("/api/v1/offsets/theirs/0", **shown).status == 403
    assert world.get("/api/v1/messages/mine/0", **shown).status == 403
    assert world.get("/admin/reload", **shown).status == 403
    token = world.post("/login", b"username=bob&password=secret").json["token"]
    assert world.post("/api/v1/messages/mine", b"x", Authorization=f"Bearer {token}").status == 204


def test_what_is_remembered_is_bounded(world: World) -> None:
    """Who asks again is not looked up again, for a minute; then it is forgotten."""
    user = world.login("user1")
    before = len(world.broker.realm.clients)
    for _ in range(5):
        world.post("/api/v1/messages/kastlex", b"x", **user)
    assert len(world.service.who) == 1
    assert len(world.broker.realm.clients) == before + 1
    world.advance(125)
    assert len(world.service.who) == 0
    assert len(world.broker.realm.clients) == before


def test_the_install_makes_a_key(tmp_path: Path) -> None:
    """One P-521 key for each install, for its owner alone, the same at the next start."""
    made = tokens.key_of("", tmp_path, "test")
    path = tmp_path / tokens.MADE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert tokens.key_of("", tmp_path, "test").private_numbers() == made.private_numbers()
    token = tokens.sign(made, "ann", NOW, 60)
    assert tokens.read(token, tokens.load_public(str(path), "test")).name == "ann"


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    """One line names the file, and says how a key is made."""
    path = tmp_path / "key.pem"
    with pytest.raises(ConfigError, match="can be read"):
        tokens.load(str(path), "test")
    pkcs = serialization.PrivateFormat.PKCS8
    for key in (ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)):
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs, serialization.NoEncryption()))
        with pytest.raises(ConfigError, match="openssl ecparam"):
            tokens.load(str(path), "test")
    path.write_text("junk")
    with pytest.raises(ConfigError, match="PEM"):
        tokens.load(str(path), "test")


# -- storage ----------------------------------------------------------------------------------------------------------


def test_revoking_without_storage(world: World) -> None:
    """It is refused, and says what would allow it."""
    reply = world.ask("DELETE", "/admin/tokens/user1", **world.login())
    assert reply.status == 409
    assert "token_storage" in reply.json["error"]


def test_storage_lasts(tmp_path: Path) -> None:
    """Another ledger on the same topic knows what was put and revoked, and so does one that is there already."""
    from brokerkit.protocols.kafka_rest.ledger import TopicLedger

    world = World(tmp_path, token_storage=True)
    other = TopicLedger(world.log, b"_kastlex_tokens", world.memory.reactor)
    other.startService()
    admin, user = world.login(), world.login("user1")
    assert world.ask("DELETE", "/admin/tokens/user1", **admin).status == 204
    later = TopicLedger(world.log, b"_kastlex_tokens", world.memory.reactor)
    later.startService()
    for ledger in (other, later):
        for name, shown, there in (("admin", admin, True), ("user1", user, False)):
            token = shown["Authorization"].removeprefix("Bearer ")
            assert finished(ledger.holds(name, tokens.digest(token))) is there


def test_what_clients_publish_to_that_topic_is_no_token(tmp_path: Path) -> None:
    """Who may publish there can neither take a token away nor give one back."""
    world = World(tmp_path, token_storage=True)
    admin, user = world.login(), world.login("user1")
    reply = world.post("/api/v1/messages/_kastlex_tokens?key=user:user1", b"", **admin)
    assert reply.status == 204
    assert world.post("/api/v1/messages/kastlex", b"x", **user).status == 204


def test_a_reload_of_a_broken_file(world: World) -> None:
    """It is answered with what is broken, and everybody keeps the rights that they had."""
    admin = world.login()
    world.permissions.write_text("user1: [")
    world.line.begin("GET", "/admin/reload", headers=admin)
    for _ in range(20):
        world.advance(0.1)
    reply = world.line.reply()
    assert reply.status == 503
    assert "stay as they were" in reply.json["error"]
    assert world.post("/api/v1/messages/kastlex", b"x", **world.login("user1")).status == 204


def test_a_full_disk_at_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that cannot be stored is not given out."""
    from twisted.internet.defer import fail

    from brokerkit.log.words import NoRoom

    world = World(tmp_path, token_storage=True)
    monkeypatch.setattr(world.log, "append", lambda *_, **__: fail(NoRoom("the disk is full")))
    reply = world.post("/login", b"username=user1&password=user1")
    assert (reply.status, "token" in reply.json) == (503, False)
