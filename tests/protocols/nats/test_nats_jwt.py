"""Logging in with a JWT of an operator's account: who is let in, what is allowed then, and for how long."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from brokerkit.checkers.jwt_users import JwtUsers
from brokerkit.jwts import claims as tokens
from brokerkit.jwts.authority import Authority
from brokerkit.jwts.resolvers import Preloaded
from brokerkit.protocols.nats.replies import OPEN
from brokerkit.testing import MemoryBroker
from tests.tokens import UNLIMITED, account, claims, encode, scoped, user

from .jwt_logins import ACCOUNT, ANN, LOGINS, OPERATOR, OTHER, PONG, SCOPED, SIGNER, SYSTEM, Login, World
from .rights import BLANKS, RIGHTS, Right
from .test_nats_nkeys import nonce_in

if TYPE_CHECKING:
    from brokerkit.testing import Peer

NOW = 1_000_000


class Accounts(Preloaded):
    """A resolver whose tokens a test changes."""

    def __init__(self, tokens: dict[str, str]) -> None:
        """Take tokens by the keys of their accounts."""
        super().__init__(tokens)
        self.version = 0

    def put(self, account: str, token: str) -> None:
        """Put another token in the place of an account's."""
        self._tokens[account] = token
        self.version += 1

    def state(self, account: str) -> tuple[int, ...] | None:
        """Give the version of all."""
        return (self.version,) if account in self._tokens else None


class Operated(MemoryBroker):
    """A broker whose users are those of a world's operator."""

    def __init__(self) -> None:
        """Make the world at the moment of the broker's clock."""
        reactor = MemoryReactorClock()
        reactor.rightNow = float(NOW)
        self.world = World(NOW)
        self.accounts = Accounts({**self.world.accounts, **self.world.bad_accounts})
        authority = Authority([tokens.operator(self.world.operator)], self.accounts)
        self.jwts = JwtUsers(authority, reactor, source="jwt:test", system_account=SYSTEM.public)
        super().__init__(users={}, sources=[self.jwts], reactor=reactor)
        self.jwts.setServiceParent(self.broker)

    def try_(self, login: Login) -> Peer:
        """Connect, and say what a login says."""
        peer = self.connect("nats")
        peer.send(said(login, self.world, nonce_in(peer.take())))
        self.advance()
        return peer


def said(login: Login, world: World, nonce: bytes) -> bytes:
    """Give what to send for a login."""
    options: dict[str, Any] = {"verbose": False, "pedantic": False, "jwt": login.token(world), **login.others}
    options["sig"] = login.signature(nonce)
    return b"CONNECT %b\r\nPING\r\n" % json.dumps(options).encode()


@pytest.mark.parametrize("login", LOGINS, ids=lambda login: login.id)
def test_login(login: Login) -> None:
    """Whoever shows a JWT that is vouched for, and signs the nonce, is let in; all others are refused."""
    memory = Operated()
    peer = memory.try_(login)
    assert peer.take() == login.answer
    assert peer.closed != login.accepted
    assert memory.broker.listener("nats").counts.logins_refused == (not login.accepted)


def connecting(right: Right) -> bytes:
    """Give the CONNECT of a bearer with some permissions."""
    options = {"verbose": False, "pedantic": False, "headers": True, "jwt": right.jwt}
    return b"CONNECT %b\r\n" % json.dumps(options).encode()


@pytest.mark.parametrize("right", [*RIGHTS, *BLANKS], ids=lambda right: right.id)
def test_rights(right: Right) -> None:
    """The permissions of a JWT allow what they allow in nats-server, and what they do not is refused in its words."""
    memory = Operated()
    peer = memory.connect("nats")
    peer.take()
    peer.send(connecting(right), right.said)
    assert peer.take() == right.heard
    assert not peer.closed


def login(memory: Operated, token: str) -> Peer:
    """Log Ann in with a token."""
    peer = memory.try_(Login("", True, lambda _: token))
    assert peer.take() == PONG
    return peer


def test_expiry() -> None:
    """A connection ends when its JWT expires, in nats-server's words; before that it stays."""
    memory = Operated()
    peer = login(memory, user(ACCOUNT, ANN, others={"exp": NOW + 10}))
    memory.advance(8.5)
    assert not peer.closed
    memory.advance(3)
    assert peer.take().endswith(b"-ERR 'User Authentication Expired'\r\n")
    assert peer.closed


def test_the_account_expires() -> None:
    """When the JWT of the account expires, its users have to go too."""
    memory = Operated()
    memory.accounts.put(OTHER.public, account(OPERATOR, OTHER, others={"exp": NOW + 10}))
    peer = login(memory, user(OTHER, ANN))
    memory.advance(12)
    assert b"Expired" in peer.take()
    assert peer.closed


def test_the_hours_end() -> None:
    """A connection ends with the hours at which it may be there."""
    memory = Operated()
    hours = {"start": "13:00:00", "end": "13:47:00"}  # the moment of the tests is 13:46:40
    peer = login(memory, user(ACCOUNT, ANN, times=[hours], times_location="UTC"))
    memory.advance(18)
    assert not peer.closed
    memory.advance(4)
    assert peer.closed


@pytest.mark.parametrize(
    "changed",
    [
        {"revocations": {ANN.public: NOW + 1}},
        {"revocations": {"*": NOW + 1}},
        {"limits": {"disallow_bearer": True}},
        {"signing_keys": []},
        None,
    ],
    ids=["the user", "everybody", "bearers", "the signing key", "the account"],
)
def test_revoked(changed: dict[str, Any] | None) -> None:
    """Who is revoked by a new JWT of the account is told and sent away within seconds; others stay."""
    memory = Operated()
    memory.accounts.put(OTHER.public, account(OPERATOR, OTHER, signing_keys=[SIGNER.public]))
    token = user(SIGNER, ANN, issuer_account=OTHER.public, bearer_token=True)
    peer, other = login(memory, token), login(memory, user(ACCOUNT, ANN))
    memory.advance(3)
    assert not peer.closed
    new = "" if changed is None else account(OPERATOR, OTHER, **{"signing_keys": [SIGNER.public], **changed})
    memory.accounts.put(OTHER.public, new)
    memory.advance(2)
    memory.advance(2)
    assert peer.take().endswith(b"-ERR 'User Authentication Revoked'\r\n")
    assert peer.closed
    assert not other.closed
    again = memory.connect("nats")
    again.send(said(Login("", True, lambda _: token), memory.world, nonce_in(again.take())))
    assert again.closed


def test_other_rights() -> None:
    """A new JWT of the account with other terms counts at once for those who are there."""
    memory = Operated()
    scope = {"kind": "user_scope", "key": SCOPED.public, "template": {**UNLIMITED, "sub": {"allow": ["a", "b"]}}}
    memory.accounts.put(OTHER.public, account(OPERATOR, OTHER, signing_keys=[scope]))
    peer = login(memory, scoped(SCOPED, ANN, OTHER))
    peer.send(b"SUB a 1\r\nSUB b q 2\r\n")
    scope["template"] = {**UNLIMITED, "sub": {"allow": ["a"]}, "resp": {"max": 1}}
    memory.accounts.put(OTHER.public, account(OPERATOR, OTHER, signing_keys=[scope]))
    for _ in range(3):
        memory.advance(1)
    assert b"""-ERR 'Permissions Violation for Subscription to "b" using queue "q" (sid "2")'\r\n""" in peer.take()
    memory.broker.client("other", tenant=OTHER.public).publish(b"a", b"", reply=b"r")
    assert peer.take() == b"MSG a 1 r 0\r\n\r\n"
    peer.send(b"PUB r 0\r\n\r\nPUB r 0\r\n\r\n")
    assert peer.take() == b"""-ERR 'Permissions Violation for Publish to "r"'\r\n"""


def test_answers_end_in_time() -> None:
    """A request can be answered for as long as the right says, and not afterwards."""
    memory = Operated()
    peer = login(memory, user(ACCOUNT, ANN, resp={"max": -1, "ttl": 5_000_000_000}))
    peer.send(b"SUB rq 1\r\n")
    asking = memory.broker.client("asking", tenant=ACCOUNT.public)
    asking.publish(b"rq", b"", reply=b"r")
    memory.advance(4)
    peer.take()
    peer.send(b"PUB r 0\r\n\r\n")
    assert peer.take() == b""
    memory.advance(2)
    peer.take()
    peer.send(b"PUB r 0\r\n\r\n")
    assert peer.take() == b"""-ERR 'Permissions Violation for Publish to "r"'\r\n"""


def test_open_requests_are_bounded() -> None:
    """Of very many open requests the oldest can no longer be answered, and no more are remembered."""
    memory = Operated()
    peer = login(memory, user(ACCOUNT, ANN, resp={}))
    peer.send(b"SUB rq 1\r\n")
    asking = memory.broker.client("asking", tenant=ACCOUNT.public)
    for number in range(OPEN + 1):
        asking.publish(b"rq", b"", reply=b"r.%d" % number)
    session: Any = peer.protocol
    assert len(session.subscriptions.replies) == OPEN
    peer.take()
    peer.send(b"PUB r.0 0\r\n\r\nPUB r.1 0\r\n\r\n")
    assert peer.take() == b"""-ERR 'Permissions Violation for Publish to "r.0"'\r\n"""


def test_ones_own_requests_are_not_answered() -> None:
    """Who hears no echo has not received its own request, so it may not publish where that wants its answer."""
    memory = Operated()
    peer = memory.connect("nats")
    peer.take()
    token = user(ACCOUNT, ANN, bearer_token=True, pub={"allow": ["rq"]}, resp={})
    peer.send(b'CONNECT {"verbose":false,"pedantic":false,"echo":false,"jwt":"%b"}\r\n' % token.encode())
    peer.send(b"SUB rq 1\r\nPUB rq r 0\r\n\r\nPUB r 0\r\n\r\n")
    assert peer.take() == b"""-ERR 'Permissions Violation for Publish to "r"'\r\n"""


def test_accounts_are_tenants() -> None:
    """Accounts do not hear each other, but for what one exports and the other may import."""
    memory = Operated()
    grant = encode(claims("activation", OTHER, ACCOUNT, {"subject": "private.>", "kind": "stream"}), OTHER)
    stream = {"type": "stream", "account": OTHER.public}
    exports = [
        {"type": "stream", "subject": "open.>"},
        {"type": "stream", "subject": "private.>", "token_req": True},
        {"type": "stream", "subject": "closed.>", "token_req": True},
    ]
    imports = [
        {**stream, "subject": "open.>", "to": "from"},
        {**stream, "subject": "private.a", "local_subject": "mine", "token": grant},
        {**stream, "subject": "closed.a", "local_subject": "theirs", "token": grant},
    ]
    memory.accounts.put(OTHER.public, account(OPERATOR, OTHER, exports=exports))
    memory.accounts.put(ACCOUNT.public, account(OPERATOR, ACCOUNT, imports=imports))
    peer, other = login(memory, user(ACCOUNT, ANN)), login(memory, user(OTHER, ANN))
    peer.send(b"SUB > 1\r\n")
    for subject in (b"open.x", b"private.a", b"closed.a", b"else"):
        other.send(b"PUB %b 0\r\n\r\n" % subject)
    assert peer.take() == b"MSG from.open.x 1 0\r\n\r\nMSG mine 1 0\r\n\r\n"


def test_the_system_account() -> None:
    """Users of the operator's system account are in the broker's own tenant."""
    memory = Operated()
    login(memory, user(SYSTEM, ANN))
    [(_, name)] = memory.broker.realm.clients
    [client] = memory.broker.realm.clients["jwt:test", name]
    assert client.user.tenant == "$SYS"


def test_what_the_log_says() -> None:
    """The log has the reason of a refusal, and neither token nor signature."""
    memory = Operated()
    token = user(ACCOUNT, ANN, others={"exp": NOW - 5})
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        memory.try_(Login("", False, lambda _: token))
    finally:
        globalLogPublisher.removeObserver(events.append)
    text = "\n".join(filter(None, map(formatEvent, events)))
    assert "login: Authorization Violation: a JWT that has expired" in text
    assert token not in text
    assert token.split(".")[2] not in text
