"""hpfeeds, the broker's side: a challenge first, then silence as long as all is well.

There is no acknowledgement in this protocol: a login or a subscription that worked is answered by nothing.  What is
wrong is answered by one ERROR frame, in the words of the original broker, and the end of the connection.  Unlike the
original, nothing behind the fatal frame is read.
"""

from __future__ import annotations

from secrets import token_bytes
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.protocol import connectionDone

from brokerkit import session, topics
from brokerkit.credentials import ChallengeResponse
from brokerkit.errors import (
    ClientError,
    LoginFailed,
    NotAllowed,
    ProtocolViolation,
    Throttled,
    TooManyConnections,
    TooSlow,
    TryAgain,
    WrongSecret,
)
from brokerkit.protocols.hpfeeds import wire
from brokerkit.protocols.hpfeeds.framing import hpfeeds_framing
from brokerkit.run import Message, Spoken

if TYPE_CHECKING:
    from twisted.cred.credentials import ICredentials
    from twisted.python.failure import Failure

    from brokerkit.listener import Listener
    from brokerkit.run import Batch
    from brokerkit.subscription import Subscription

_FAREWELL = {"revoked": "was revoked", "expired": "has expired", "kicked": "was ended by the operator"}
_CATEGORIES = {  # by the beginning of what is answered
    "First message was not AUTH": "invalid-first-message",
    "Invalid authkey in message": "ident-mismatch-pub",
    "Authkey not allowed to pub": "no-pub-permission",
    "Authkey not allowed to sub": "no-sub-permission",
}
_EXPIRED = "deadline-timer-expired"  # the original's word for a slow reader that is given up
_GIVEN_UP = {"deadline": _EXPIRED, "limit": _EXPIRED}
NONCE = 4  # bytes; clients written in C read exactly these


@attrs.frozen
class Settings(session.Settings):
    """What an hpfeeds listener can be told; limits and deadline as the original documents them."""

    name: str = ""
    outbox_limit: int = 50 * 1024 * 1024
    outbox_deadline: float = 60.0


class HpfeedsSession(session.Session):
    """One hpfeeds connection."""

    settings: ClassVar[type[session.Settings]] = Settings
    commands: ClassVar[dict[type, str]] = {
        wire.Auth: "on_auth",
        wire.Publish: "on_publish",
        wire.Subscribe: "on_subscribe",
        wire.Unsubscribe: "on_unsubscribe",
        wire.Error: "on_nonsense",
        wire.Info: "on_nonsense",
    }

    @classmethod
    def prepare(cls, listener: Listener) -> wire.Channels:
        """Share what is known of channel names."""
        return wire.Channels(listener.prefix)

    def make_wire(self) -> wire.Wire:
        """Give the wire, and prepare what a login will need."""
        self.nonce = token_bytes(NONCE)
        self.channels: dict[bytes, Subscription] = {}
        self._ident = b""
        tally = self.listener.broker.tally
        if tally is not None:
            self.teller = tally.teller(self, self.listener.prefix)
        own = wire.Wire(self.listener.prefix, self.listener.shared)
        own.locked = True
        return own

    def greet(self) -> None:
        """Send the name and the nonce, in one piece: a client of the original needs them in one read."""
        settings: Any = self.listener.settings
        name = str(settings.name or self.listener.broker.name)
        self.outbox.put(wire.spell(wire.Info(name.encode()[:255], self.nonce)))

    def spell(self, error: ClientError) -> bytes:
        """Give the ERROR frame, or nothing where the original hangs up without a word."""
        return b"" if error.reply is None else wire.spell(wire.Error(error.reply.encode(errors="surrogateescape")))

    def too_late(self) -> ClientError:
        """Hang up on whoever has not sent AUTH in time."""
        return LoginFailed("Authentication timed out")

    def too_many(self) -> ClientError:
        """Hang up on a connection too many."""
        return ClientError("Too many connections")

    def too_slow(self) -> ClientError:
        """Hang up on who began a frame and does not get on with it."""
        return TooSlow("Frame not finished in time")

    # -- counting by name, where that is wanted ---------------------------------------------------------------------

    def refuse(self, error: ClientError) -> None:
        """Answer an error, and count it under the original's word for it."""
        if self.teller is not None and not self._closing:
            for words, category in _CATEGORIES.items():
                if (error.reply or "").startswith(words):
                    self.teller.erred(category)
        super().refuse(error)

    def _answer(self, failure: Failure) -> ClientError:
        if self.teller is not None:
            self.teller.erred(_why_refused(failure), self._ident)
        return super()._answer(failure)

    def _stopped(self, why: str) -> None:
        if self.teller is not None and not self._gone and why in _GIVEN_UP:
            self.teller.erred(_GIVEN_UP[why])
        super()._stopped(why)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End, and count that."""
        super().connectionLost(reason)
        if self.teller is not None:
            self.teller.ended()

    # -- the commands -----------------------------------------------------------------------------------------------

    def on_auth(self, auth: wire.Auth) -> None:
        """Ask who this is, by the digest or a certificate of that ident's; a second AUTH replaces the first."""
        self._ident = auth.ident
        self.login(ChallengeResponse(auth.ident, self.nonce, auth.digest, self.certified()))

    def welcome(self) -> None:
        """Read publishes of this ident in runs from now on."""
        self.wire.locked = False
        self.wire.own(self._ident)
        if self.teller is not None:
            self.teller.logged_in(self._logged_in().user)

    def unwelcome(self, credentials: ICredentials) -> ClientError:  # noqa: ARG002
        """Answer unknown ident and wrong secret alike."""
        return LoginFailed(f"Authentication failed for {_shown(self._ident)}")

    def undecided(self) -> ClientError:
        """Say that it is not the secret; the original has no such answer."""
        return LoginFailed("Users cannot be looked up now, try again later")

    def sent_away(self, why: str) -> ClientError:
        """Say it before hanging up."""
        return LoginFailed(f"Login of {_shown(self._ident)} {_FAREWELL[why]}")

    def lost(self, subscription: Subscription) -> None:
        """Say it in the words of a refused SUBSCRIBE; the connection stays."""
        channel = topics.beneath(self.listener.prefix, subscription.pattern) or b""
        self.channels.pop(channel, None)
        if self.teller is not None:
            self.teller.listens_no_more(subscription.pattern)
        self.refuse(NotAllowed(self._not_allowed(channel), fatal=False))

    def on_publish(self, publish: wire.Publish) -> None:
        """Publish one message that was not spelled well enough for a run, or say why not."""
        client = self._logged_in()
        if publish.ident != client.user.name:
            raise NotAllowed(f"Invalid authkey in message, ident={_shown(publish.ident)}")
        topic = topics.under(self.listener.prefix, publish.channel)
        self.publish(Spoken([Message(topic, publish.payload)]))

    def may_not(self, batch: Batch) -> bool:
        """Answer a publish to a channel that the user lacks; nothing behind it is published."""
        ident = _shown(batch.sender)
        self.refuse(NotAllowed(f"Authkey not allowed to pub here. ident={ident}, chan={self._channel(batch.topic)}"))
        return False

    def on_subscribe(self, subscribe: wire.Subscribe) -> None:
        """Subscribe to a channel by its literal name; the ident in the frame is not looked at, as in the original."""
        client = self._logged_in()
        channel = subscribe.channel
        if channel in self.channels:
            return
        if len(self.channels) >= self.listener.settings.max_subscriptions:
            raise NotAllowed("Too many subscriptions")
        topic = topics.under(self.listener.prefix, channel)
        try:
            framing = hpfeeds_framing(self.listener.prefix)
            self.channels[channel] = client.subscribe(topic, framing=framing, literal=True)
        except NotAllowed:
            raise NotAllowed("Too many subscriptions" if client.full else self._not_allowed(channel)) from None
        if self.teller is not None:
            self.teller.listens(topic)

    def _not_allowed(self, channel: bytes) -> str:
        return f"Authkey not allowed to sub here. ident={_shown(self._ident)}, chan={_shown(channel)}"

    def on_unsubscribe(self, unsubscribe: wire.Unsubscribe) -> None:
        """End a subscription; one that there never was is no error."""
        client = self._logged_in()
        subscription = self.channels.pop(unsubscribe.channel, None)
        if subscription is not None:
            client.unsubscribe(subscription)
            if self.teller is not None:
                self.teller.listens_no_more(subscription.pattern)

    def on_nonsense(self, item: object) -> None:  # noqa: ARG002
        """Hang up on a client that says what only brokers say."""
        self._logged_in()
        raise ProtocolViolation(None)

    def _logged_in(self) -> Any:  # noqa: ANN401  the client, known to be there
        if self.client is None:
            raise ProtocolViolation(wire.LOGIN_FIRST)
        return self.client

    def _channel(self, topic: bytes) -> str:
        return _shown(topics.beneath(self.listener.prefix, topic) or b"")


def _why_refused(failure: Failure) -> str:
    """Give the original's word for why a login was refused; our own where it has none."""
    if failure.check(Throttled):
        return "throttled"
    if failure.check(TooManyConnections):
        return "too-many-connections"
    if failure.check(TryAgain) or not failure.check(UnauthorizedLogin):
        return "error-checking-ident"
    return "invalid-secret" if failure.check(WrongSecret) else "invalid-ident"


def _shown(name: bytes) -> str:
    return name.decode(errors="surrogateescape")  # the peer gets its own bytes back
