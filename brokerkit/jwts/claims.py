"""What the tokens of operators, accounts and users say, as plain records.

Names of keys are those of the public library ``nats-io/jwt``; a number of -1 is no limit there, and 0 none at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from brokerkit import nkeys
from brokerkit.jwts.decode import ACCOUNT, ACTIVATION, OPERATOR, USER, decode
from brokerkit.jwts.fields import BadJwt, Fields
from brokerkit.permissions import EVERYTHING, Lists, responses

if TYPE_CHECKING:
    from brokerkit.grants import Responses
    from brokerkit.jwts.decode import Token

STREAM, SERVICE = "stream", "service"
NANO = 1e-9


@attrs.frozen
class Permissions:
    """What may be published and subscribed to."""

    publish: Lists = EVERYTHING
    subscribe: Lists = EVERYTHING
    responses: Responses | None = None

    @property
    def says_nothing(self) -> bool:
        """Whether it is as if it were not there."""
        return self.publish.says_nothing and self.subscribe.says_nothing and self.responses is None


@attrs.frozen
class Terms:
    """On which terms a user is let in: what a user's token says, or the template of the key that has signed it.

    ``sources`` are networks, ``hours`` pairs of texts (from, to) in ``zone``, ``kinds`` types of connections.
    """

    permissions: Permissions = attrs.field(factory=Permissions)
    subscriptions: int = 0
    payload: int = 0
    data: int = 0
    sources: tuple[str, ...] = ()
    hours: tuple[tuple[str, str], ...] = ()
    zone: str = ""
    bearer: bool = False
    proxied: bool = False
    kinds: tuple[str, ...] = ()


@attrs.frozen
class Operator:
    """Who vouches for accounts."""

    key: str
    signing_keys: frozenset[str]
    system_account: str
    strict: bool
    token: Token

    @property
    def trusted(self) -> frozenset[str]:
        """The keys whose accounts are trusted; the operator's own is not, if it says so."""
        return self.signing_keys if self.strict else self.signing_keys | {self.key}


@attrs.frozen
class Exported:
    """What an account offers; ``private`` to those that it has given a token, or that stand in the subject."""

    kind: str
    subject: str
    private: bool
    position: int
    response: str
    revoked: dict[str, int]


@attrs.frozen
class Imported:
    """What an account takes from another one; ``local`` and ``to`` are two ways to say how it is called here."""

    kind: str
    subject: str
    account: str
    local: str
    to: str
    activation: str = attrs.field(repr=False)


@attrs.frozen
class Account:
    """A tenant, and who may sign for its users: each key perhaps only on terms of its own (``None``: on the user's)."""

    key: str
    name: str
    tags: tuple[str, ...]
    issuer: str
    signing_keys: dict[str, Terms | None]
    revoked: dict[str, int]
    permissions: Permissions
    connections: int
    subscriptions: int
    payload: int
    no_bearers: bool
    imports: tuple[Imported, ...]
    exports: tuple[Exported, ...]
    mappings: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    token: Token


@attrs.frozen
class User:
    """A user's own token; ``account`` is the key of whom it belongs to."""

    key: str
    name: str
    tags: tuple[str, ...]
    account: str
    terms: Terms
    token: Token

    @property
    def is_scoped(self) -> bool:
        """Whether it says nothing of its own terms, as one has to that is signed by a key with terms."""
        return self.terms == Terms()


# -- reading ------------------------------------------------------------------------------------------------------


def operator(text: str) -> Operator:
    """Read an operator's token, which it has signed itself; raise ``BadJwt``."""
    token = decode(text, OPERATOR)
    nats = token.nats
    keys = frozenset(nats.texts("signing_keys"))
    _check_key(token.subject, "O")
    for key in keys:
        _check_key(key, "O")
    if token.issuer not in keys | {token.subject}:
        raise BadJwt("of an operator, and signed by another")
    return Operator(token.subject, keys, nats.text("system_account"), nats.flag("strict_signing_key_usage"), token)


def account(text: str) -> Account:
    """Read an account's token; raise ``BadJwt``."""
    token = decode(text, ACCOUNT)
    nats = token.nats
    limits = nats.table("limits")
    _check_key(token.subject, "A")
    return Account(
        token.subject,
        token.name,
        token.tags,
        token.issuer,
        dict(_signing_key(item) for item in nats.items("signing_keys")),
        nats.numbers("revocations"),
        _permissions(nats.table("default_permissions")),
        limits.number("conn"),
        limits.number("subs"),
        limits.number("payload"),
        limits.flag("disallow_bearer"),
        tuple(_import(item) for item in nats.tables("imports")),
        tuple(_export(item) for item in nats.tables("exports")),
        _mappings(nats.table("mappings")),
        token,
    )


def user(text: str) -> User:
    """Read a user's token; raise ``BadJwt``."""
    token = decode(text, USER)
    _check_key(token.subject, "U")
    belongs = token.nats.text("issuer_account") or token.issuer
    _check_key(belongs, "A")
    return User(token.subject, token.name, token.tags, belongs, _terms(token.nats), token)


def activation(text: str) -> Token:
    """Read the token by which an account lets another one import; raise ``BadJwt``."""
    return decode(text, ACTIVATION)


def _check_key(text: str, kind: str) -> None:
    if not nkeys.is_key(text, kind):
        raise BadJwt(f"without a key {kind}... where there has to be one")


def _permissions(table: Fields) -> Permissions:
    answers = table.table("resp")
    return Permissions(
        _lists(table.table("pub")),
        _lists(table.table("sub")),
        responses(answers.number("max"), answers.number("ttl") * NANO) if "resp" in table else None,
    )


def _lists(table: Fields) -> Lists:
    return Lists(table.texts("allow") or None, table.texts("deny"))  # an empty list says nothing


def _terms(table: Fields) -> Terms:
    return Terms(
        _permissions(table),
        table.number("subs"),
        table.number("payload"),
        table.number("data"),
        _sources(table),
        tuple((each.text("start"), each.text("end")) for each in table.tables("times")),
        table.text("times_location"),
        table.flag("bearer_token"),
        table.flag("proxy_required"),
        tuple(kind.upper() for kind in table.texts("allowed_connection_types")),
    )


def _sources(table: Fields) -> tuple[str, ...]:
    """Read networks: a list, or in version 1 a text with commas."""
    try:
        return table.texts("src")
    except BadJwt:
        return tuple(part.strip() for part in table.text("src").split(",") if part.strip())


def _signing_key(item: object) -> tuple[str, Terms | None]:
    if isinstance(item, str):
        _check_key(item, "A")
        return item, None
    scope = Fields(item)
    if scope.text("kind") != "user_scope":
        raise BadJwt("with a signing key of a kind that is not known")
    _check_key(scope.text("key"), "A")
    return scope.text("key"), _terms(scope.table("template"))


def _kind(table: Fields) -> str:
    """Read stream or service; version 1 of the library wrote them as numbers."""
    kind = {1: STREAM, 2: SERVICE}.get(table.number("type"), "") if _is_number(table) else table.text("type").lower()
    if kind not in {STREAM, SERVICE}:
        raise BadJwt("with an import or export that is neither stream nor service")
    return kind


def _is_number(table: Fields) -> bool:
    try:
        table.number("type")
    except BadJwt:
        return False
    return True


def _export(table: Fields) -> Exported:
    return Exported(
        _kind(table),
        table.text("subject"),
        table.flag("token_req"),
        table.number("account_token_position"),
        table.text("response_type").lower() or "singleton",
        table.numbers("revocations"),
    )


def _import(table: Fields) -> Imported:
    return Imported(
        _kind(table),
        table.text("subject"),
        table.text("account"),
        table.text("local_subject"),
        table.text("to"),
        table.text("token"),
    )


def _mappings(table: Fields) -> tuple[tuple[str, tuple[tuple[str, int], ...]], ...]:
    """Read subjects and where they go; what is for one cluster of servers is not for us."""
    return tuple(
        (
            subject,
            tuple(
                (each.text("subject"), each.number("weight") or 100)
                for each in table.tables(subject)
                if not each.text("cluster")
            ),
        )
        for subject in table.keys()  # noqa: SIM118  not a dict
    )
