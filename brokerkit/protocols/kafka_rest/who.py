"""Who asks: what a request shows in ``Authorization``, held against the ordinary sources of users.

A Bearer token is one of ours (a JWT, see ``tokens``) or one that a source of users knows; Basic is a name and a
password; whoever shows neither is anonymous, as with KastleX.  Who has logged in stays so for a minute for every
request that shows the same, whatever connection it comes by, so that a busy client is looked up once; when the right
to be here ends, so does that.  Users whose source knows KastleX's actions may do what these say and no more; for
others, who may publish or subscribe to a topic may see it.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import attrs
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin, UnhandledCredentials

from brokerkit.checkers.kastlex_actions import ACTIONS
from brokerkit.credentials import AnonymousRequest, Token, Vouched
from brokerkit.errors import Throttled, TooManyConnections, TryAgain
from brokerkit.grants import PUBLISH, SUBSCRIBE
from brokerkit.protocols.kafka_rest.tokens import BadToken, is_jwt
from brokerkit.realm import Mind
from brokerkit.web import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.cred.credentials import ICredentials
    from twisted.internet.interfaces import IDelayedCall

    from brokerkit.broker import Broker
    from brokerkit.client import Client
    from brokerkit.config import Listen
    from brokerkit.protocols.kafka_rest.quotas import Quotas
    from brokerkit.protocols.kafka_rest.tokens import Claims, Tokens
    from brokerkit.web import Asked

LASTS = 60.0  # seconds that one look-up is good for
MOST = 4096  # logins that are remembered at once
LONGEST = 8192  # bytes of the header
SEEING = {"show_topic", "show_offsets", "show_urps", "show_group"}
LISTING = {"list_topics", "list_groups", "list_brokers", "list_urps", "show_broker"}
LIST_GROUPS, SHOW_GROUP, USE_GROUP, MOVE_GROUP = "list_groups", "show_group", "commit_group", "reset_group"
GROUPS = {SHOW_GROUP, USE_GROUP, MOVE_GROUP}
_NOTHING = b""


@attrs.define(eq=False)
class _Inside:
    """Somebody who is logged in: ``token`` is whose token was shown, if one was; ``until`` is when that ends."""

    client: Client
    token: str
    until: float


class Who:
    """Finds the clients of requests; one for each listener."""

    def __init__(self, broker: Broker, listen: Listen, tokens: Tokens, quotas: Quotas | None = None) -> None:
        """Ask that broker, and take tokens of that maker; each client found is charged to its ``quotas``."""
        self._broker = broker
        self._quotas = quotas
        self._listen = listen
        self._tokens = tokens
        self._clock = broker.reactor
        self._inside: OrderedDict[bytes, _Inside] = OrderedDict()  # by what was shown, the oldest first
        self._staying: dict[Client, tuple[str, IDelayedCall | None]] = {}  # of streams: whose token, when it expires
        self._alarm: IDelayedCall | None = None
        self.counts = {"logins": 0, "logins_refused": 0}  # looked up, not remembered; refused: who has shown something
        tokens.on_revoked(self._revoked)

    def __len__(self) -> int:
        """Give the number of logins that are remembered."""
        return len(self._inside)

    # -- logging in ---------------------------------------------------------------------------------------------------

    def known(self, asked: Asked, shown: bytes | None = None) -> Client | None:
        """Give the client of a request that shows what was shown before; takes no time.  Raises ``Problem`` 429."""
        inside = self._inside.get(_digest(read_shown(asked) if shown is None else shown))
        if inside is None or self._clock.seconds() >= inside.until:
            return None
        self._charge(inside.client, asked)
        return inside.client

    def _charge(self, client: Client, asked: Asked) -> None:
        if self._quotas is not None and self._quotas.bounds:
            self._quotas.charge(client, asked)

    async def client(self, asked: Asked, shown: bytes | None = None) -> Client:
        """Give the client that a request acts as; it is shared, so nobody leaves it or subscribes with it.

        ``shown`` stands in place of the header, for those who cannot set one.  Raises ``Problem``: 401 where nobody is
        let in, 429 and 503 where that cannot be decided now.
        """
        shown = read_shown(asked) if shown is None else shown
        client = self.known(asked, shown)
        if client is not None:
            return client
        client, claims = await self._log_in(asked, shown)
        self._keep(_digest(shown), client, claims)
        self._charge(client, asked)
        return client

    async def stay(self, asked: Asked, ended: Callable[[str], None], shown: bytes | None = None) -> Client:
        """Give a client of one's own, for a stream: it may subscribe, and ``leave`` is to be called at its end.

        ``ended`` is told, in one word why, when it may no longer be here.  Raises as ``client``.
        """
        client, claims = await self._log_in(asked, read_shown(asked) if shown is None else shown)
        client.ended = ended
        left = client.left
        alarm = None
        if claims is not None:
            alarm = self._clock.callLater(max(0.0, claims.expires - self._clock.seconds()), ended, "expired")
        self._staying[client] = (claims.name if claims is not None else "", alarm)

        def leaving(client: Client) -> None:
            _, alarm = self._staying.pop(client, ("", None))
            if alarm is not None and alarm.active():
                alarm.cancel()
            if left is not None:
                left(client)

        client.left = leaving
        return client

    async def _log_in(self, asked: Asked, shown: bytes) -> tuple[Client, Claims | None]:
        try:
            found = await self._found(asked, shown)
        except Problem:
            self.counts["logins_refused"] += bool(shown)
            raise
        self.counts["logins"] += 1
        return found

    async def _found(self, asked: Asked, shown: bytes) -> tuple[Client, Claims | None]:
        try:
            claims, credentials = await self._credentials(shown, asked.address)
            mind = Mind(address=asked.address, protocol=self._listen.protocol, tenant=self._listen.tenant)
            return await self._broker.login(credentials, mind), claims
        except UnauthorizedLogin as error:
            raise refusal(error, nobody=not shown) from None
        except UnhandledCredentials:  # no source of users takes any of that kind
            raise refusal(UnauthorizedLogin(), nobody=not shown) from None

    async def _credentials(self, shown: bytes, address: str) -> tuple[Claims | None, ICredentials]:
        kind, _, value = shown.partition(b" ")
        value = value.strip()
        if kind == b"basic":
            return None, _basic(value)
        if kind != b"bearer":
            name = self._listen.no_auth_user
            return None, Vouched(name.encode()) if name else AnonymousRequest()
        if not is_jwt(value):
            return None, Token(value)
        claims = await self._check(value, address)
        return claims, Vouched(claims.name.encode())

    async def _check(self, token: bytes, address: str) -> Claims:
        """Give what a token of ours says; who shows false ones is slowed down, as checking them takes time."""
        throttle, named = self._broker.throttle, b"\0" + blake2b(token, digest_size=16).digest()
        if not throttle.admits(address, named):
            raise Throttled
        try:
            return await self._tokens.check(token)
        except BadToken:
            throttle.failed(address, named)
            raise Problem(401, "Unauthenticated", "the token is not valid", headers=_ASK) from None

    # -- remembering --------------------------------------------------------------------------------------------------

    def _keep(self, key: bytes, client: Client, claims: Claims | None) -> None:
        until = self._clock.seconds() + LASTS
        inside = _Inside(client, "", until)
        if claims is not None:
            inside = _Inside(client, claims.name, min(until, claims.expires))
        self._drop(key)
        self._inside[key] = inside
        client.ended = lambda _: self._drop(key)
        if len(self._inside) > MOST:
            self._drop(next(iter(self._inside)))
        if self._alarm is None:
            self._alarm = self._clock.callLater(LASTS, self._sweep)

    def _drop(self, key: bytes) -> None:
        inside = self._inside.pop(key, None)
        if inside is not None:
            inside.client.ended = None
            inside.client.leave()

    def _sweep(self) -> None:
        self._alarm = None
        now = self._clock.seconds()
        for key, inside in list(self._inside.items()):
            if not now < inside.until <= now + LASTS:  # more: the clock has been set back
                self._drop(key)
        if self._inside:
            self._alarm = self._clock.callLater(LASTS, self._sweep)

    def _revoked(self, name: str) -> None:
        """End what came in by a token of that user."""
        for key, inside in list(self._inside.items()):
            if inside.token == name:
                self._drop(key)
        for client, (token, _) in list(self._staying.items()):
            if token == name and client.ended is not None:
                client.ended("revoked")

    def stop(self) -> None:
        """Forget everybody."""
        alarm, self._alarm = self._alarm, None
        if alarm is not None and alarm.active():
            alarm.cancel()
        for key in list(self._inside):
            self._drop(key)

    # -- rights -------------------------------------------------------------------------------------------------------

    def may(self, client: Client, action: str, name: bytes = b"*") -> bool:
        """Say whether a client may do something with a name: a topic of the broker, a group, the number of a broker."""
        grants = client.grants
        if grants.permits(action, name):
            return True
        if any(word in grants.actions for word in ACTIONS):
            return False
        if action in GROUPS:
            return bool(grants.access(SUBSCRIBE).allow)
        if action in SEEING:
            return grants.permits(SUBSCRIBE, name) or grants.permits(PUBLISH, name)
        return action in LISTING and bool(grants.access(SUBSCRIBE).allow or grants.access(PUBLISH).allow)

    def need(self, client: Client, action: str, name: bytes = b"*") -> None:
        """Raise ``Problem`` 403 where the client may not do that."""
        if not self.may(client, action, name):
            shown = "" if name == b"*" else f" {name.decode(errors='replace')}"
            user = client.user.name.decode(errors="replace")
            raise Problem(403, "Forbidden", f"{user} may not {action}{shown}")

    def need_group(self, client: Client, action: str, name: str, whose: str) -> None:
        """Raise ``Problem`` 403 where the client may not do that with a group, which is ``whose``, if anybody's.

        Who uses a group first owns it, and may do with it what it likes; others need a right that names it.
        """
        if client.grants.permits(action, name.encode()):
            return
        self.need(client, action, name.encode())
        if action != SHOW_GROUP and whose not in {"", owner(client)}:
            detail = f"the group {name!r} is another user's: that needs the right to {action}, which names it"
            raise Problem(403, "Forbidden", detail)

    def may_see(self, client: Client, topic: bytes) -> bool:
        """Say whether a topic is listed for a client: KastleX lists all for whoever may list."""
        grants = client.grants
        return any(word in grants.actions for word in ACTIONS) or self.may(client, "show_topic", topic)


def owner(client: Client) -> str:
    """Give the word for the user whose groups, members and consumer instances are its own."""
    return client.user.name.decode(errors="backslashreplace")


# Basic is taken, too, but a browser that reads of it asks for a password by itself, past every page.
_ASK: dict[str, Any] = {"www-authenticate": 'Bearer realm="brokerkit"'}


def read_shown(asked: Asked) -> bytes:
    """Give what a request shows, the scheme in lower case; empty if it shows nothing that counts here."""
    found = asked.headers.get(b"authorization")
    return normal(found[-1]) if found else _NOTHING


def normal(value: bytes) -> bytes:
    """Give the value of such a header as it is compared; raise ``Problem`` 401 for one that is much too long.

    KastleX lets a colon stand behind Bearer.  A scheme that nobody knows here counts as nothing shown.
    """
    if len(value) > LONGEST:
        raise Problem(401, "Unauthenticated", f"Authorization may have {LONGEST} bytes", headers=_ASK)
    kind, _, rest = value.strip().partition(b" ")
    kind = kind.lower().rstrip(b":")
    return kind + b" " + rest.strip() if kind in {b"bearer", b"basic"} and rest else _NOTHING


def _digest(shown: bytes) -> bytes:
    return blake2b(shown, digest_size=16).digest() if shown else _NOTHING


def _basic(value: bytes) -> UsernamePassword:
    try:
        name, colon, secret = b64decode(value, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        colon = b""
    if not colon:
        raise Problem(401, "Unauthenticated", "what follows Basic is base64 of NAME:PASSWORD", headers=_ASK)
    return UsernamePassword(name, secret)


class Nobody(Problem):
    """Nothing was shown, and nobody is let in so."""


def refusal(error: UnauthorizedLogin, *, nobody: bool = False) -> Problem:
    """Give what is answered to a login that failed; with ``nobody``, to one that has shown nothing."""
    if isinstance(error, Throttled):
        return Problem(429, "Too Many Failed Logins", "try again later", headers={"retry-after": "60"})
    if isinstance(error, TooManyConnections):
        return Problem(503, "Too Many Connections", "the user has as many as it may have", headers={"retry-after": "5"})
    if isinstance(error, TryAgain):
        return Problem(503, "Logins Cannot Be Decided", "try again later", headers={"retry-after": "5"})
    if nobody:
        return Nobody(401, "Unauthenticated", "log in: Authorization is missing", headers=_ASK)
    return Problem(401, "Unauthenticated", "nobody is known by that", headers=_ASK)
