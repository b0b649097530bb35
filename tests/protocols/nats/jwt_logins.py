"""Logins with a JWT, each accepted or not: the same table is asked of brokerkit and of a nats-server.

Everything is made for one moment (``World.now``), so that it can be true in memory and on a real clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tests.tokens import HEADER, OLD_HEADER, UNLIMITED, Key, account, claims, encode, operator, raw, scoped, user

from .words import REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable

PONG = b"PONG\r\n"
HERE = "192.0.2.0/24"  # of peers in memory
LOOPBACK = "127.0.0.0/8"
HOUR = 3600
OPERATOR, OPERATOR_SIGNER, STRANGER = Key("O", "operator"), Key("O", "signer"), Key("O", "stranger")
SYSTEM, ACCOUNT, OTHER, SELF = Key("A", "system"), Key("A", "account"), Key("A", "other"), Key("A", "self")
SIGNED, EXPIRED, STRICT, FOREIGN = Key("A", "signed"), Key("A", "expired"), Key("A", "strict"), Key("A", "foreign")
UNKNOWN, SIGNER, SCOPED, BEARERS = Key("A", "unknown"), Key("A", "signer"), Key("A", "scoped"), Key("A", "bearers")
FULL, NONE, DEFAULTS = Key("A", "full"), Key("A", "none"), Key("A", "defaults")
ANN, BOB = Key("U", "ann"), Key("U", "bob")
UNASKED = Key("A", "unasked")
REVOKED, LATE = Key("U", "revoked"), Key("U", "late")


class World:
    """An operator and its accounts at one moment."""

    def __init__(self, now: int) -> None:
        """Make their tokens."""
        self.now = now
        self.operator = operator(OPERATOR, signing_keys=[OPERATOR_SIGNER.public], system_account=SYSTEM.public)
        scope = {"kind": "user_scope", "key": SCOPED.public, "template": self.template()}
        bearers = {"kind": "user_scope", "key": BEARERS.public, "template": {**UNLIMITED, "bearer_token": True}}
        unasked = {"kind": "user_scope", "key": UNASKED.public, "template": {**self.template(), "bearer_token": True}}
        self.accounts = {
            SYSTEM.public: account(OPERATOR, SYSTEM),
            ACCOUNT.public: account(
                OPERATOR,
                ACCOUNT,
                signing_keys=[SIGNER.public, scope, bearers, unasked],
                revocations={REVOKED.public: now - 50, LATE.public: now - 150},
            ),
            OTHER.public: account(OPERATOR, OTHER, revocations={"*": now - 50}),
            SIGNED.public: account(OPERATOR_SIGNER, SIGNED),
            STRICT.public: account(OPERATOR, STRICT, limits={"disallow_bearer": True}),
            DEFAULTS.public: account(OPERATOR, DEFAULTS, default_permissions={"pub": {"allow": ["d"]}}),
            FULL.public: account(OPERATOR, FULL, limits={"conn": 0}),
        }
        self.bad_accounts = {
            SELF.public: account(SELF, SELF),
            FOREIGN.public: account(STRANGER, FOREIGN),
            EXPIRED.public: account(OPERATOR, EXPIRED, others={"exp": now - 10}),
            NONE.public: self.accounts[ACCOUNT.public],
        }

    def template(self) -> dict[str, Any]:
        """Give the terms of the key with terms."""
        allow = {"allow": ["own.{{name()}}.>", "key.{{subject()}}", "tag.{{tag(team)}}"]}
        return {**UNLIMITED, "pub": allow, "sub": {"allow": ["in.{{account-subject()}}", "in.{{name()}}"]}}


class Login(NamedTuple):
    """One login: whether it is accepted, and the token (and signature, if it is not that of Ann's key) to show."""

    id: str
    accepted: bool
    token: Callable[[World], str]
    signature: Callable[[bytes], str] = lambda nonce: raw(ANN.sign(nonce))
    others: dict[str, Any] = {}  # noqa: RUF012  never changed
    refusal: bytes = REFUSED

    @property
    def answer(self) -> bytes:
        """What the client gets for its CONNECT and a PING."""
        return PONG if self.accepted else self.refusal


def _at(token: Callable[..., str], **moments: int) -> Callable[[World], str]:
    """Make Ann's token at moments before or after now."""
    return lambda w: token(ACCOUNT, ANN, others={key: w.now + value for key, value in moments.items()})


def _issued(key: Key, before: int) -> Callable[[World], str]:
    return lambda w: user(ACCOUNT, key, bearer_token=True, others={"iat": w.now - before})


def _with(issuer: Key = ACCOUNT, key: Key = ANN, **nats: Any) -> Callable[[World], str]:
    return lambda _: user(issuer, key, **nats)


def _spelled(header: Any = HEADER, *, old: bool = False, **changed: Any) -> Callable[[World], str]:
    made = {**claims("user", ACCOUNT, ANN, UNLIMITED), **changed}
    return lambda _: encode(made, ACCOUNT, header=header, old=old)


def _broken(change: Callable[[str], str]) -> Callable[[World], str]:
    return lambda _: change(user(ACCOUNT, ANN))


def _other_claims(token: str) -> str:
    """Put the claims of another token between header and signature of this one."""
    parts, others = token.split("."), user(ACCOUNT, ANN, bearer_token=True).split(".")
    return ".".join([parts[0], others[1], parts[2]])


_OLD = {**claims("user", ACCOUNT, ANN, UNLIMITED), "type": "user", "nats": dict(UNLIMITED)}
_GOOD = _with()
_NOBODY: Callable[[bytes], str] = lambda _: ""  # noqa: E731
_DAY = (("00:00:00", "23:59:59"),)


def _hours(*spans: tuple[str, str], zone: str = "UTC") -> Callable[[World], str]:
    return _with(times=[{"start": start, "end": end} for start, end in spans], times_location=zone)


LOGINS = [
    Login("as tools make it", True, _GOOD),
    Login("by a signing key of the account", True, _with(SIGNER, issuer_account=ACCOUNT.public)),
    Login("by a signing key that names no account", False, _with(SIGNER)),
    Login("by the account, which it names too", True, _with(ACCOUNT, issuer_account=ACCOUNT.public)),
    Login("by another account", False, _with(OTHER, issuer_account=ACCOUNT.public)),
    Login("by a stranger's key", False, _with(Key("A", "x"), issuer_account=ACCOUNT.public)),
    Login("of an unknown account", False, _with(UNKNOWN)),
    Login("by the operator", False, _with(OPERATOR)),
    Login("by the operator, naming the account", False, _with(OPERATOR, issuer_account=ACCOUNT.public)),
    Login("by the user", False, _with(ANN, issuer_account=ACCOUNT.public)),
    Login("account of a signing key of the operator", True, _with(SIGNED)),
    Login("account that has signed itself", False, _with(SELF)),
    Login("account of another operator", False, _with(FOREIGN)),
    Login("account that has expired", False, _with(EXPIRED)),
    Login("account with another one's JWT", False, _with(NONE)),
    Login(
        "account that takes no connections",
        False,
        _with(FULL),
        refusal=b"-ERR 'maximum account active connections exceeded'\r\n",
    ),
    Login("the system account", True, _with(SYSTEM)),
    Login("no signature", False, _GOOD, _NOBODY),
    Login("the signature of another user", False, _GOOD, lambda nonce: raw(BOB.sign(nonce))),
    Login("the signature of another nonce", False, _GOOD, lambda nonce: raw(ANN.sign(nonce[::-1] + b"x"))),
    Login("the signature of nothing", False, _GOOD, lambda _: raw(ANN.sign(b""))),
    Login("no base64 for a signature", False, _GOOD, lambda _: "!" * 86),
    Login("bearer without a signature", True, _with(bearer_token=True), _NOBODY),
    Login("bearer with a wrong signature", True, _with(bearer_token=True), lambda _: "x"),
    Login("bearer where the account takes none", False, _with(STRICT, bearer_token=True), _NOBODY),
    Login("no bearer where the account takes none", True, _with(STRICT)),
    Login("expired", False, _at(user, exp=-5)),
    Login("not yet expired", True, _at(user, exp=HOUR)),
    Login("not yet valid", False, _at(user, nbf=HOUR)),
    Login("valid since a while", True, _at(user, nbf=-5)),
    Login("issued in the future", True, _at(user, iat=HOUR)),
    Login("revoked", False, _issued(REVOKED, 100)),
    Login("revoked at that second", False, _issued(REVOKED, 50)),
    Login(
        "issued after it was revoked",
        True,
        _issued(LATE, 100),
    ),
    Login("revoked like all", False, lambda w: user(OTHER, ANN, others={"iat": w.now - 100})),
    Login("issued after all were revoked", True, lambda w: user(OTHER, ANN, others={"iat": w.now - 10})),
    Login("from a network that is allowed", True, _with(src=["198.51.100.0/24", HERE, LOOPBACK])),
    Login("from another network", False, _with(src=["198.51.100.0/24"])),
    Login("from a network that is none", False, _with(src=["here"])),
    Login("at any hour", True, _hours(*_DAY)),
    Login("at no hour", False, _hours(("00:00:00", "00:00:00"))),
    Login("at hours that are none", False, _hours(("soon", "later"))),
    Login("at hours of no zone", False, _hours(*_DAY, zone="Nowhere/Land")),
    Login("for this kind of connection", True, _with(allowed_connection_types=["STANDARD"])),
    Login("for kinds with this one", True, _with(allowed_connection_types=["MQTT", "STANDARD"])),
    Login("for another kind of connection", False, _with(allowed_connection_types=["WEBSOCKET"])),
    Login("for a kind that nobody knows", False, _with(allowed_connection_types=["PIGEON"])),
    Login("with an audience", True, lambda _: user(ACCOUNT, ANN, others={"aud": "somebody else"})),
    Login("algorithm none", False, _spelled({"typ": "JWT", "alg": "none"})),
    Login("algorithm none, no signature", False, _broken(lambda t: f"{raw(b'{}')}.{t.split('.')[1]}.")),
    Login("another algorithm", False, _spelled({"typ": "JWT", "alg": "HS256"})),
    Login("algorithm of other JWTs", False, _spelled({"typ": "JWT", "alg": "EdDSA"})),
    Login("another type", False, _spelled({"typ": "JWS", "alg": "ed25519-nkey"})),
    Login("no header", False, _spelled({})),
    Login("header in other letters", True, _spelled({"typ": "jwt", "alg": "ED25519-NKEY"})),
    Login("the older algorithm", True, _spelled({"typ": "JWT", "alg": "ed25519"})),
    Login("signed as of old", False, _spelled(old=True)),
    Login("version 1", True, lambda _: encode(_OLD, ACCOUNT, header=OLD_HEADER, old=True)),
    Login("version 1, signed as of today", False, lambda _: encode(_OLD, ACCOUNT, header=OLD_HEADER)),
    Login("version 3", False, _spelled(nats={**UNLIMITED, "type": "user", "version": 3})),
    Login("the JWT of an account", False, lambda w: w.accounts[ACCOUNT.public]),
    Login("the JWT of the operator", False, lambda w: w.operator),
    Login("of the type account", False, _spelled(nats={**UNLIMITED, "type": "account", "version": 2})),
    Login("of no type", False, _spelled(nats={**UNLIMITED, "version": 2})),
    Login("no issuer", False, _spelled(iss="")),
    Login("an issuer that is no key", False, _spelled(iss="A" * 56)),
    Login("a user that is no key", False, _spelled(sub="ann")),
    Login("a number for a name", False, _spelled(name=5)),
    Login("a text for a time", False, _spelled(exp="never")),
    Login("a signature of other claims", False, _broken(_other_claims)),
    Login("two parts", False, _broken(lambda t: t.rpartition(".")[0])),
    Login("four parts", False, _broken(lambda t: f"{t}.x")),
    Login("padded", False, _broken(lambda t: f"{t}==")),
    Login("a letter too few", False, _broken(lambda t: t[:-2])),
    Login("no JWT at all", False, lambda _: "jwt"),
    Login("no JSON", False, _broken(lambda t: f"{t.partition('.')[0]}.{raw(b'{')}.{t.rpartition('.')[2]}")),
    Login("nothing", False, lambda _: ""),
    Login("with terms of the key", True, lambda _: scoped(SCOPED, ANN, ACCOUNT, tags=["team:red"])),
    Login("with terms of the key, and its own", False, _with(SCOPED, issuer_account=ACCOUNT.public)),
    Login("bearer by the terms of the key", True, lambda _: scoped(BEARERS, ANN, ACCOUNT), _NOBODY),
    Login("bearer by its own word", False, lambda _: scoped(SCOPED, ANN, ACCOUNT, bearer_token=True), _NOBODY),
    Login("beside a password", True, _GOOD, others={"user": "ann", "pass": "wrong"}),
    Login("beside the nkey", True, _GOOD, others={"nkey": ANN.public}),
    Login("a password alone", False, lambda _: "", _NOBODY, {"user": "ann", "pass": "wrong"}),
    Login("an nkey alone", False, lambda _: "", others={"nkey": ANN.public}),
    Login("a permission that is no subject", False, _with(pub={"allow": ["a..b"]})),
    Login("a permission with two blanks", False, _with(sub={"allow": ["a b c"]})),
    Login("needing a proxy", False, _with(proxy_required=True)),
]
