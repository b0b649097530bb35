"""hpfeeds, the broker's side: a challenge first, then silence as long as all is well.

There is no acknowledgement in this protocol: a login or a subscription that worked is answered by nothing.  What is
wrong is answered by one ERROR frame, in the words of the original broker, and the end of the connection.  Unlike the
original, nothing behind the fatal frame is read.
"""

from __future__ import annotations

from secrets import token_bytes
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from brokerkit import session, topics
from brokerkit.credentials import ChallengeResponse
from brokerkit.errors import ClientError, LoginFailed, NotAllowed, ProtocolViolation
from brokerkit.protocols.hpfeeds import wire
from brokerkit.protocols.hpfeeds.framing import hpfeeds_framing
from brokerkit.run import Message, Spoken

if TYPE_CHECKING:
    from twisted.cred.credentials import ICredentials

    from brokerkit.listener import Listener
    from brokerkit.run import Batch
    from brokerkit.subscription import Subscription

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
    def prepare(cls, listener: Listener) -> dict[bytes, bytes]:  # noqa: ARG003
        """Share what is known of channel names."""
        return {}

    def make_wire(self) -> wire.Wire:
        """Give the wire, and prepare what a login will need."""
        self.nonce = token_bytes(NONCE)
        self.channels: dict[bytes, Subscription] = {}
        self._ident = b""
        return wire.Wire(self.listener.prefix, self.listener.shared)

    def greet(self) -> None:
        """Send the name and the nonce, in one piece: a client of the original needs them in one read."""
        settings: Any = self.listener.settings
        name = str(settings.name or self.listener.broker.name)
        self.outbox.put(wire.spell(wire.Info(name.encode()[:255], self.nonce)))

    def spell(self, error: ClientError) -> bytes:
        """Give the ERROR frame, or nothing where the original hangs up without a word."""
        return b"" if error.reply is None else wire.spell(wire.Error(error.reply.encode()))

    def too_late(self) -> ClientError:
        """Hang up on whoever has not sent AUTH in time."""
        return LoginFailed("Authentication timed out")

    def too_many(self) -> ClientError:
        """Hang up on a connection too many."""
        return ClientError("Too many connections")

    # -- the commands -----------------------------------------------------------------------------------------------

    def on_auth(self, auth: wire.Auth) -> None:
        """Ask who this is; a second AUTH replaces the first."""
        self._ident = auth.ident
        self.login(ChallengeResponse(auth.ident, self.nonce, auth.digest))

    def welcome(self) -> None:
        """Read publishes of this ident in runs from now on."""
        self.wire.own(self._ident)

    def unwelcome(self, credentials: ICredentials) -> ClientError:  # noqa: ARG002
        """Answer unknown ident and wrong secret alike."""
        return LoginFailed(f"Authentication failed for {_shown(self._ident)}")

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
            ident = _shown(client.user.name)
            text = f"Authkey not allowed to sub here. ident={ident}, chan={_shown(channel)}"
            raise NotAllowed(text) from None

    def on_unsubscribe(self, unsubscribe: wire.Unsubscribe) -> None:
        """End a subscription; one that there never was is no error."""
        client = self._logged_in()
        subscription = self.channels.pop(unsubscribe.channel, None)
        if subscription is not None:
            client.unsubscribe(subscription)

    def on_nonsense(self, item: object) -> None:  # noqa: ARG002
        """Hang up on a client that says what only brokers say."""
        self._logged_in()
        raise ProtocolViolation(None)

    def _logged_in(self) -> Any:  # noqa: ANN401  the client, known to be there
        if self.client is None:
            raise ProtocolViolation("First message was not AUTH")
        return self.client

    def _channel(self, topic: bytes) -> str:
        return _shown(topics.beneath(self.listener.prefix, topic) or b"")


def _shown(name: bytes) -> str:
    return name.decode(errors="replace")
