"""Users of whom somebody else decides: each login by NATS is put as a request, in NATS' own form, to who answers there.

The question is a JWT that this broker signs, on ``$SYS.REQ.USER.AUTH`` in one tenant; the answer is a JWT of the issuer
that the operator has named, with a JWT of the user in it.  So what was written for the ``auth_callout`` of nats-server
works here.  Those who answer must get in without being asked about: they are known to another source.

Nobody answers, or not in time: then nothing is said of the credentials, and the client may try again.
"""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TooSlow

from brokerkit.checkers.jwt_users import user_of
from brokerkit.checkers.known import Known
from brokerkit.checkers.source import Source
from brokerkit.errors import SourceFailed, UnknownUser, WrongSecret
from brokerkit.interfaces import IDelegated
from brokerkit.jwts import claims
from brokerkit.jwts.decode import RESPONSE, decode
from brokerkit.jwts.encode import Signer
from brokerkit.jwts.fields import BadJwt
from brokerkit.jwts.hours import check_address, until
from brokerkit.nkeys import SERVER, USER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from brokerkit.broker import Broker
    from brokerkit.client import Client, User
    from brokerkit.run import Batch

SUBJECT = b"$SYS.REQ.USER.AUTH"
AUDIENCE = "nats-authorization-request"
REQUEST = "authorization_request"
WITHIN = 1.4  # seconds for an answer: a little less than any source of users has
DEFAULT = ("", "$G")  # what NATS calls the tenant without a name


class Callout(Source, Service):
    """Asks in ``tenant``, and believes ``issuer``; the users in ``known`` are not asked about."""

    credentialInterfaces = (IDelegated,)

    def __init__(self, issuer: str, known: Collection[str], tenant: str = "") -> None:
        """Take whom to ask and whom not to ask about; nothing is asked before a broker is joined."""
        self.source = f"callout:{issuer}"
        self._issuer = issuer
        self._not_asked = frozenset(known)
        self._tenant = tenant
        self._signer = Signer(SERVER)
        self._broker: Any = None
        self._client: Client | None = None
        self._waiting: dict[bytes, Deferred[bytes]] = {}
        self._inbox = b"$SYS._INBOX.%b." % token_hex(11).encode()
        self._count = 0

    def join(self, broker: Broker) -> None:
        """Ask by that broker, whose id is the key that requests are signed with."""
        self._broker = broker
        broker.server_id = self._signer.key

    def startService(self) -> None:
        """Begin to listen for answers, if there is a broker to ask by: not where sources are only looked at."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._broker is None:
            return
        client = self._client = self._broker.client("callout", tenant=self._tenant)
        client.subscribe(self._inbox + b"*", self._answered)
        client.gate.unheard = self._unheard

    def stopService(self) -> None:
        """Ask no more; who waits gets no verdict."""
        super().stopService()  # type: ignore[no-untyped-call]
        client, self._client = self._client, None
        if client is not None:
            client.leave()
        for topic in list(self._waiting):
            self._fail(topic)

    # -- asking -----------------------------------------------------------------------------------------------------

    def find(self, credentials: Any) -> Deferred[Known | None]:  # noqa: ANN401  IDelegated
        """Give the user that the answer says; fails with what says why there is none."""
        connect = credentials.connect
        if {connect.get("user"), connect.get("nkey")} & self._not_asked:
            raise UnknownUser
        return Deferred.fromCoroutine(self._find(connect, credentials.client))

    async def _find(self, connect: Mapping[str, Any], client: Mapping[str, Any]) -> Known:
        key = Signer(USER).key
        answer = await self._ask(self._request(key, connect, client))
        try:
            return Known(self._user(answer, key, connect, str(client.get("host", ""))))
        except BadJwt as problem:
            raise WrongSecret(why=f"answered by a JWT {problem}") from None

    def _request(self, key: str, connect: Mapping[str, Any], client: Mapping[str, Any]) -> bytes:
        now = self._now
        server = {"name": self._broker.name, "id": self._signer.key}
        nats = {"server_id": server, "user_nkey": key, "client_info": dict(client), "connect_opts": dict(connect)}
        return self._signer.encode(REQUEST, AUDIENCE, AUDIENCE, now, now + WITHIN + 1, nats).encode()

    async def _ask(self, request: bytes) -> bytes:
        """Give the answer; raise ``SourceFailed`` where there is none."""
        if self._client is None:
            raise SourceFailed(self.source)
        self._count += 1
        reply = self._inbox + b"%d" % self._count
        answer = self._waiting[reply] = Deferred[bytes]()
        answer.addTimeout(WITHIN, self._broker.reactor)
        try:
            self._client.publish(SUBJECT, request, reply=reply)
            return await answer
        except TooSlow:
            raise SourceFailed(self.source) from None
        finally:
            self._waiting.pop(reply, None)

    def _answered(self, batch: Batch) -> None:
        for message in batch:
            waiting = self._waiting.pop(message.topic, None)
            if waiting is not None:
                waiting.callback(message.payload)

    def _unheard(self, batch: Batch) -> None:
        for message in batch:
            self._fail(message.reply)

    def _fail(self, topic: bytes) -> None:
        waiting = self._waiting.pop(topic, None)
        if waiting is not None:
            waiting.errback(SourceFailed(self.source))

    # -- the answer -------------------------------------------------------------------------------------------------

    def _user(self, answer: bytes, key: str, connect: Mapping[str, Any], host: str) -> User:
        """Give the user of an answer; raise ``BadJwt`` if it is none, ``WrongSecret`` if it says no."""
        now = self._now
        token = decode(answer.decode("ascii", "replace"), RESPONSE)
        token.check_time(now)
        if (token.issuer, token.subject, token.audience) != (self._issuer, key, self._signer.key):
            raise BadJwt("of another issuer, or for another user or broker")
        if token.nats.text("error") or not token.nats.text("jwt"):
            raise WrongSecret(why="whoever was asked has refused it")
        user = claims.user(token.nats.text("jwt"))
        user.token.check_time(now)
        if (user.token.issuer, user.key) != (self._issuer, key):
            raise BadJwt("with that of a user by another issuer, or of another user")
        check_address(user.terms.sources, host)
        moments = (user.token.expires, until(user.terms.hours, user.terms.zone, now))
        name = token.name or user.name or str(connect.get("user", "")) or key
        return user_of(
            name,
            self.source,
            user.terms,
            tenant=self._called(user.token.audience),
            valid_until=float(min(filter(None, moments), default=0)),
        )

    def _called(self, tenant: str) -> str:
        """Give the name of the tenant that an answer puts the user in; raise ``BadJwt`` if there is none."""
        if tenant in DEFAULT:
            return ""
        if tenant not in self._broker.tenants and tenant != self._tenant:
            raise BadJwt("for a tenant that is not known")
        return tenant

    @property
    def _now(self) -> float:
        now: float = self._broker.reactor.seconds()
        return now

    def decide(self, known: Known | None, credentials: Any) -> User:  # noqa: ANN401, ARG002
        """Give the user: ``find`` has looked at everything."""
        if known is None:
            raise UnknownUser
        return known.user

    def users(self, names: Iterable[bytes]) -> dict[bytes, Known]:  # noqa: ARG002
        """Know nobody without being asked to let somebody in."""
        return {}

    def again(self, user: User, known: User | None) -> User | None:  # noqa: ARG002  an answer is for the whole connection
        """Believe what was answered, until it expires."""
        return user
