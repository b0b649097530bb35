"""NATS, the broker's side: INFO first, then whatever the client wants, answered in nats-server's words.

Which errors end a connection, which do not, and which are silent is nats-server's choice, not ours: client libraries
read these texts.  A connection that is not verbose and not pedantic has its publishes taken in runs; the other kind is
an exception, and each of its publishes is looked at by itself.
"""

from __future__ import annotations

from json import dumps
from random import uniform
from secrets import choice
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.internet.protocol import connectionDone

from brokerkit import nkeys, session, topics
from brokerkit.credentials import Certificate, NkeySignature, Token
from brokerkit.deliver import deliver_to
from brokerkit.errors import ClientError, LoginFailed, OverAllowance, TooLarge, TooSlow
from brokerkit.notation import shown
from brokerkit.protocols.nats import wire
from brokerkit.protocols.nats.framing import nats_framing
from brokerkit.protocols.nats.info import info
from brokerkit.protocols.nats.options import Options, parse, read_object
from brokerkit.protocols.nats.quoting import denied
from brokerkit.run import Message

if TYPE_CHECKING:
    from twisted.cred.credentials import ICredentials
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from brokerkit.listener import Listener
    from brokerkit.run import Batch
    from brokerkit.subscription import Subscription

_FAREWELL = {"revoked": "User Authentication Revoked", "expired": "User Authentication Expired"}
FIRST_PING = 2.0  # seconds: the first PING comes soon, to see whether anybody is there
BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@attrs.frozen
class Settings(session.Settings):
    """What a NATS listener can be told; the defaults are nats-server's."""

    server_name: str = ""
    max_payload: int = 1024 * 1024
    max_control_line: int = 4096
    ping_interval: float = 120.0
    ping_max: int = 2
    login_timeout: float = 2.0


class Shared:
    """What the connections of one listener have in common."""

    def __init__(self, listener: Listener) -> None:
        """Read the listener's settings."""
        settings: Settings = listener.settings  # type: ignore[assignment]
        self.spellings = wire.Spellings(listener.prefix, settings.max_payload, settings.max_control_line)
        self.server_id = "N" + "".join(choice(BASE32) for _ in range(55))
        self.clients = 0


class NatsSession(session.Session):
    """One NATS connection."""

    settings: ClassVar[type[session.Settings]] = Settings
    commands: ClassVar[dict[type, str]] = {
        wire.Connect: "on_connect",
        wire.Pub: "on_pub",
        wire.Sub: "on_sub",
        wire.Unsub: "on_unsub",
        wire.Ping: "on_ping",
        wire.Pong: "on_pong",
        wire.ServerInfo: "on_info",
        wire.Okay: "on_okay",
    }

    @classmethod
    def prepare(cls, listener: Listener) -> Shared:
        """Share the memory of control lines, the server's id and the count of clients."""
        return Shared(listener)

    def make_wire(self) -> wire.Wire:
        """Give the wire, and begin as a connection that has said nothing yet."""
        self.options = Options()
        self.sids: dict[bytes, Subscription] = {}
        self.needs_login = not self.listener.broker.admits_anonymous
        self.nonce = nkeys.nonce() if self.listener.broker.takes_nkeys else b""
        self.cid = 0  # what INFO calls client_id
        self.eager = False
        self._asked = False
        self._unanswered = 0
        self._ping: IDelayedCall | None = None
        self._connected = False
        own = wire.Wire(self.listener.shared.spellings)
        own.locked = self.needs_login
        return own

    def greet(self) -> None:
        """Send INFO, and begin to ask whether the client is still there."""
        self.listener.shared.clients += 1
        self.cid = self.listener.shared.clients
        self.outbox.put(b"INFO %b \r\n" % dumps(info(self), separators=(",", ":")).encode())
        settings: Settings = self.listener.settings  # type: ignore[assignment]
        self._tick_in(min(FIRST_PING, settings.ping_interval) * uniform(1.0, 1.2))  # noqa: S311

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End the PINGs too."""
        if self._ping is not None:
            self._ping.cancel()
            self._ping = None
        super().connectionLost(reason)

    # -- what the superclass asks -----------------------------------------------------------------------------------

    def spell(self, error: ClientError) -> bytes:
        """Give the -ERR, or nothing where nats-server hangs up without a word."""
        if isinstance(error, OverAllowance):
            error = TooLarge(wire.PAYLOAD_TOO_LARGE)
        return b"" if error.reply is None else b"-ERR '%b'\r\n" % error.reply.encode(errors="surrogateescape")

    def unwelcome(self, credentials: ICredentials) -> ClientError:
        """Refuse, whatever it was; the log says who it was meant to be."""
        error = LoginFailed("Authorization Violation")
        if isinstance(credentials, UsernamePassword):
            error.why = f"{error.reply} for {shown(credentials.username)}"
        return error

    def undecided(self) -> ClientError:
        """Hang up without a word: clients give up on a server after two authorization errors."""
        return LoginFailed(None)

    def sent_away(self, why: str) -> ClientError:
        """Say it as nats-server does; of a kick it says nothing."""
        return LoginFailed(_FAREWELL.get(why))

    def lost(self, subscription: Subscription) -> None:
        """Say it in the words of a refused SUB."""
        self.sids.pop(subscription.tag, None)
        subject = topics.beneath(self.listener.prefix, subscription.pattern) or b""
        self.refuse(denied(b"Subscription to", subject, subscription.queue))

    def too_late(self) -> ClientError:
        """Refuse whoever has not said CONNECT in time."""
        return LoginFailed("Authentication Timeout")

    def too_many(self) -> ClientError:
        """Refuse a connection too many."""
        return ClientError("maximum connections exceeded")

    def too_slow(self) -> ClientError:
        """Say what clients take for a connection that is lost."""
        return TooSlow("Stale Connection")

    # -- logging in -------------------------------------------------------------------------------------------------

    def on_connect(self, connect: wire.Connect) -> None:
        """Take the options and ask who this is."""
        self.options = options = parse(connect.options, self.options)
        self.wire.headers = options.headers
        if self._connected:
            self._forget_subscriptions()
        self._connected = True
        self.eager = not (options.verbose or options.pedantic)
        credentials = self._credentials_in(options)
        if credentials is not None:
            self.login(credentials)
        else:
            self.welcome()

    def _credentials_in(self, options: Options) -> ICredentials | None:
        """Give what logs this client in: what it says, else its certificate, else nothing; ``None`` if it is to stay.

        A certificate that names nobody ends it, whatever else is said.
        """
        name = self.certified()
        if options.nkey and self.nonce:
            return NkeySignature(options.nkey, self.nonce, nkeys.read_signature(options.sig))
        if options.auth_token:
            return Token(options.auth_token.encode())
        if options.user or options.password:
            return UsernamePassword(options.user.encode(), options.password.encode())
        if name:
            return Certificate(name)
        return Anonymous() if self.client is None else None

    def _forget_subscriptions(self) -> None:
        """End them all: a second CONNECT may be somebody else's, and nats-server drops them too."""
        for subscription in self.sids.values():
            self.client.unsubscribe(subscription)  # type: ignore[union-attr]
        self.sids.clear()

    def welcome(self) -> None:
        """Say +OK to a CONNECT, and offer 503 to whoever asked for it."""
        self.wire.locked = False
        if self.client is not None:
            self.client.gate.unheard = self._unheard if self.options.no_responders else None
        if self._connected:
            self._okay()

    def _first(self, item: wire.Item) -> bool:
        """Say whether ``item`` can be taken now; one that comes before any CONNECT logs in as nobody."""
        if self.client is not None:
            return True
        self.postpone(item)
        self.login(Anonymous())
        return False

    # -- publishing -------------------------------------------------------------------------------------------------

    def on_pub(self, pub: wire.Pub) -> None:
        """Publish a message that was not taken in a run: oddly spelled, or on a verbose or pedantic connection."""
        if not self._first(pub):
            return
        subject, reply = pub.subject, pub.reply
        if self.options.pedantic and (topics.has_wildcard(subject) or topics.has_empty_token(subject)):
            self.refuse(ClientError("Invalid Publish Subject", fatal=False))
        if subject.startswith(wire.CLOSED_SUBJECTS) or not self._may_publish(subject):
            self.refuse(denied(b"Publish to", subject))
        elif reply.startswith(wire.CLOSED_REPLIES):
            self.refuse(denied(b"Publish with Reply of", reply))
        else:
            self._okay()
            self._publish(pub)

    def _may_publish(self, subject: bytes) -> bool:
        return self.client.gate.grants.permits("publish", topics.under(self.listener.prefix, subject))  # type: ignore[union-attr]

    def _publish(self, pub: wire.Pub) -> None:
        """Publish what is allowed; a subject with an empty token reaches nobody, whoever subscribed."""
        prefix = self.listener.prefix
        reply = topics.under(prefix, pub.reply) if pub.reply else b""
        message = Message(topics.under(prefix, pub.subject), pub.payload, reply, pub.headers)
        if not topics.has_empty_token(pub.subject):
            self.publish(wire.OddRun([message]))
        elif reply and self.options.no_responders:
            self._answer_503(message)

    def may_not(self, batch: Batch) -> bool:
        """Answer each message that is not allowed; the connection stays."""
        subject = topics.beneath(self.listener.prefix, batch.topic) or b""
        for _ in range(len(batch)):
            self.refuse(denied(b"Publish to", subject))
        return True

    def _unheard(self, batch: Batch) -> None:
        """Tell who asks that nobody hears: by a 503, to the plain subscription that waits for the answer."""
        for message in batch:
            if message.reply:
                self._answer_503(message)

    def _answer_503(self, message: Message) -> None:
        client: Any = self.client
        waiting = [s for s in client.router.match(message.reply) if s.owner is client and not s.queue and s.framing]
        if waiting:
            subject = topics.beneath(self.listener.prefix, message.topic) or b""
            status = b"NATS/1.0 503\r\nNats-Subject: %b\r\n\r\n" % subject
            deliver_to(waiting[0], wire.OddRun([Message(message.reply, b"", b"", status)]))

    # -- subscribing ------------------------------------------------------------------------------------------------

    def on_sub(self, sub: wire.Sub) -> None:
        """Subscribe; a sid that is in use already keeps the subscription that it has."""
        if not self._first(sub):
            return
        try:
            self._check(sub)
            if sub.sid not in self.sids:
                self.sids[sub.sid] = self._subscribe(sub)
        except ClientError as error:
            self.refuse(error)
        else:
            self._okay()

    def _check(self, sub: wire.Sub) -> None:
        """Raise what is to be answered; the right is asked before the number and the form, as in nats-server."""
        pattern = topics.under(self.listener.prefix, sub.subject)
        literal = not topics.is_pattern(sub.subject)
        grants = self.client.grants  # type: ignore[union-attr]
        if sub.queue == b"_sys_" or not grants.permits("subscribe", pattern, literal=literal):
            raise denied(b"Subscription to", sub.subject, sub.queue)
        if len(self.sids) >= self.listener.settings.max_subscriptions or self.client.full:  # type: ignore[union-attr]
            raise ClientError("maximum subscriptions exceeded", fatal=False)

    def _subscribe(self, sub: wire.Sub) -> Subscription:
        if not topics.is_pattern(sub.subject):
            raise ClientError("Invalid Subject", fatal=False)
        return self.client.subscribe(  # type: ignore[union-attr]
            topics.under(self.listener.prefix, sub.subject),
            framing=nats_framing(self.listener.prefix, headers=self.options.headers),
            tag=sub.sid,
            queue=sub.queue,
            echo=self.options.echo,
            ended=self._ended,
        )

    def _ended(self, subscription: Subscription) -> None:
        self.sids.pop(subscription.tag, None)

    def on_unsub(self, unsub: wire.Unsub) -> None:
        """End a subscription, now or after so many messages; an unknown one is no error."""
        if not self._first(unsub):
            return
        subscription = self.sids.get(unsub.sid)
        if subscription is not None:
            self.client.unsubscribe(subscription, unsub.after)  # type: ignore[union-attr]
            if not subscription.alive:
                del self.sids[unsub.sid]
        self._okay()

    # -- keeping alive ----------------------------------------------------------------------------------------------

    def on_ping(self, ping: wire.Ping) -> None:
        """Answer."""
        if self._first(ping):
            self.outbox.put(b"PONG\r\n")

    def on_pong(self, pong: wire.Pong) -> None:
        """Note that the client has answered."""
        if self._first(pong):
            self._unanswered = 0

    def on_info(self, said: wire.ServerInfo) -> None:
        """Ignore INFO from a client, if it is JSON."""
        if self._first(said):
            read_object(said.options)

    def on_okay(self, okay: wire.Okay) -> None:
        """Ignore +OK from a client."""
        self._first(okay)

    def _tick_in(self, seconds: float) -> None:
        self._ping = self.listener.clock.callLater(seconds, self._tick)

    def _tick(self) -> None:
        """Ask whether the client is there, unless it has just been heard; give up after so many questions.

        The first question is always asked, as nats-server does to measure the round trip.
        """
        settings: Settings = self.listener.settings  # type: ignore[assignment]
        self._ping = None
        with self.listener.broker.turn:
            if self._asked and self.heard and not self._unanswered:
                self.heard = False
            elif self._unanswered >= settings.ping_max and not self.held:  # an answer would not have been read
                self.refuse(ClientError("Stale Connection"))
                return
            else:
                self._asked = True
                self._unanswered += 1
                self.outbox.put(b"PING\r\n")
        self._tick_in(settings.ping_interval)

    def _okay(self) -> None:
        if self.options.verbose:
            self.outbox.put(b"+OK\r\n")
