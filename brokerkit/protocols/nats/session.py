"""NATS, the broker's side: INFO first, then whatever the client wants, answered in nats-server's words.

Which errors end a connection, which do not, and which are silent is nats-server's choice, not ours: client libraries
read these texts.  A connection that is not verbose and not pedantic has its publishes taken in runs; the other kind is
an exception, and each of its publishes is looked at by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.internet.protocol import connectionDone

from brokerkit import nkeys, session, topics
from brokerkit.credentials import Certificate, NkeySignature, SignedJwt, Token, Vouched
from brokerkit.errors import ClientError, LoginFailed, OverAllowance, TooLarge, TooSlow
from brokerkit.notation import shown
from brokerkit.protocols.nats import security, wire
from brokerkit.protocols.nats.advertise import host_and_port
from brokerkit.protocols.nats.delegation import delegated
from brokerkit.protocols.nats.info import spelled
from brokerkit.protocols.nats.keepalive import KeepAlive
from brokerkit.protocols.nats.options import Options, parse, read_object, refusal
from brokerkit.protocols.nats.quoting import denied
from brokerkit.protocols.nats.replies import Replies
from brokerkit.protocols.nats.subscriptions import Subscriptions
from brokerkit.protocols.nats.system.account import attend
from brokerkit.protocols.nats.unheard import answer_503
from brokerkit.run import Message

if TYPE_CHECKING:
    from twisted.cred.credentials import ICredentials
    from twisted.python.failure import Failure

    from brokerkit.client import Client
    from brokerkit.listener import Listener
    from brokerkit.run import Batch
    from brokerkit.securing import Terms
    from brokerkit.subscription import Subscription

_FAREWELL = {"revoked": "User Authentication Revoked", "expired": "User Authentication Expired"}


@attrs.frozen
class Settings(session.Settings):
    """What a NATS listener can be told; the defaults are nats-server's.

    ``client_advertise`` is the HOST:PORT that clients are told instead of the one they have come to, ``connect_urls``
    are those of other brokers that they may go to as well.
    """

    server_name: str = ""
    client_advertise: str = attrs.field(default="", validator=host_and_port)
    connect_urls: tuple[str, ...] = attrs.field(default=(), validator=attrs.validators.deep_iterable(host_and_port))
    max_payload: int = 1024 * 1024
    max_control_line: int = 4096
    ping_interval: float = 120.0
    ping_max: int = 2
    login_timeout: float = 2.0
    handshake: str = "after-info"
    handshake_fallback: float = 0.05
    tls_timeout: float = 2.0
    plain: bool = False
    pinned_certs: tuple[str, ...] = ()


class Shared:
    """What the connections of one listener have in common."""

    def __init__(self, listener: Listener) -> None:
        """Read the listener's settings."""
        settings: Settings = listener.settings  # type: ignore[assignment]
        self.spellings = wire.Spellings(listener.prefix, settings.max_payload, settings.max_control_line)


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
        """Share the memory of control lines, and have the broker answer in its system account."""
        attend(listener.broker)
        return Shared(listener)

    @classmethod
    def terms(cls, listener: Listener, served: Any) -> Terms | None:  # noqa: ANN401  what makes TLS, or None
        """Have TLS begin after INFO, unless the settings say otherwise."""
        return security.terms(listener, served)

    def make_wire(self) -> wire.Wire:
        """Give the wire, and begin as a connection that has said nothing yet."""
        settings: Settings = self.listener.settings  # type: ignore[assignment]
        self.options = Options()
        self.subscriptions = Subscriptions(self.listener.prefix, settings.max_subscriptions)
        self.keep_alive = KeepAlive(self, settings.ping_interval, settings.ping_max)
        broker = self.listener.broker
        self.needs_login = not (broker.admits_anonymous or self.listener.listen.no_auth_user)
        self.nonce = nkeys.nonce() if broker.takes_nkeys or broker.takes_jwts else b""
        self.offered_jwt = ""  # what stands for the one in CONNECT, where the transport has brought one
        self.eager = False
        self.settled = False  # whether a first PING has been answered: from then on, news may be sent
        self._connected = False
        own = wire.Wire(self.listener.shared.spellings)
        own.locked = self.needs_login
        return own

    def greet(self) -> None:
        """Send INFO."""
        self.outbox.put(spelled(self))

    def expect(self) -> None:
        """Begin to ask whether the client is still there, too."""
        super().expect()
        if not self.closing:
            self.keep_alive.begin()

    def inform(self, *, account: bool = False, leaving: bool = False) -> None:
        """Say INFO again, to a client that can take it, because something in it is new.

        ``account`` says where the client has logged in, ``leaving`` that it had better go elsewhere.
        """
        if self.settled and self.options.protocol > 0:
            self.outbox.put(spelled(self, account=account, leaving=leaving))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End the PINGs too."""
        self.keep_alive.stop()
        super().connectionLost(reason)

    @property
    def sids(self) -> dict[bytes, Subscription]:
        """The subscriptions, by the names that the client gave them."""
        return self.subscriptions.sids

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
        self.subscriptions.forget(subscription)
        subject = topics.beneath(self.listener.prefix, subscription.pattern) or b""
        self.refuse(denied(b"Subscription to", subject, subscription.queue, subscription.tag))

    def too_late(self) -> ClientError:
        """Refuse whoever has not said CONNECT in time."""
        return LoginFailed("Authentication Timeout")

    def too_many(self) -> ClientError:
        """Refuse a connection too many."""
        return ClientError("maximum connections exceeded")

    def tenant_full(self) -> ClientError:
        """Refuse a connection too many of an account."""
        return ClientError("maximum account active connections exceeded")

    def introduced(self) -> tuple[str, str, str]:
        """Give what CONNECT said of the client's program."""
        return self.options.name, self.options.lang, self.options.version

    def claimed(self) -> str:
        """Give the user, or the key, that CONNECT named."""
        return self.options.user or self.options.nkey

    def too_slow(self) -> ClientError:
        """Say what clients take for a connection that is lost."""
        return TooSlow("Stale Connection")

    def will_go(self) -> None:
        """Say that this broker goes into lame duck mode, to those who can take it."""
        self.inform(leaving=True)

    # -- logging in -------------------------------------------------------------------------------------------------

    def on_connect(self, connect: wire.Connect) -> None:
        """Take the options and ask who this is."""
        self.options = options = parse(connect.options, self.options)
        self.wire.headers = options.headers
        if self._connected and self.client is not None:
            self.subscriptions.end_all(self.client)
        if not self._connected:
            self.rtt = self.listener.seconds() - self.started  # until a PING has measured it
        self._connected = True
        self.eager = not (options.verbose or options.pedantic)
        credentials = self._credentials_in(options)
        if credentials is not None:
            self.login(self._for_others(credentials))
        else:
            self.welcome()

    def _credentials_in(self, options: Options) -> ICredentials | None:
        """Give what logs this client in: what it says, else its certificate, else nothing; ``None`` if it is to stay.

        A certificate that names nobody ends it, whatever else is said.
        """
        names = self.certified_names()
        if names and self.listener.naming is not None and self.listener.naming.decides:
            return Certificate(names[0], names[1:])
        token = options.jwt or self.offered_jwt
        if token and self.listener.broker.takes_jwts:
            return SignedJwt(token, self.nonce, nkeys.read_signature(options.sig), self.host)
        said = self._said_in(options)
        if said is None and names:
            return Certificate(names[0])
        return self._nobody() if said is None and self.client is None else said

    def _said_in(self, options: Options) -> ICredentials | None:
        """Give what the options alone say; nothing if they say nothing."""
        if options.nkey and self.nonce:
            return NkeySignature(options.nkey, self.nonce, nkeys.read_signature(options.sig))
        if options.auth_token:
            return Token(options.auth_token.encode())
        if options.user or options.password:
            return UsernamePassword(options.user.encode(), options.password.encode())
        return None

    def _for_others(self, credentials: ICredentials) -> ICredentials:
        """Give what somebody else is to decide about, if there is somebody; those whom the listener knows come in."""
        if self.listener.broker.delegates and not isinstance(credentials, Vouched):
            return delegated(self, credentials)
        return credentials

    def _nobody(self) -> ICredentials:
        """Give what logs in whoever shows nothing."""
        name = self.listener.listen.no_auth_user
        return Vouched(name.encode()) if name else Anonymous()

    def welcome(self) -> None:
        """Say +OK to a CONNECT, and offer 503 to whoever asked for it."""
        error = refusal(self.options)
        if error is not None:
            self.refuse(error)
            return
        self.wire.locked = False
        if self.client is not None:
            self.client.gate.unheard = self._unheard if self.options.no_responders else None
            self.client.changed = self._rights_changed
            self._rights_changed()
        if self._connected:
            self._okay()

    def _rights_changed(self) -> None:
        """Take or drop the right to answer requests."""
        client, before = self._logged_in, self.subscriptions.replies
        right = client.grants.responses
        if right != (before.right if before is not None else None):
            replies = Replies(right, self.listener.clock.seconds) if right is not None else None
            self.subscriptions.answer(replies, client, self.options)

    def _first(self, item: wire.Item) -> bool:
        """Say whether ``item`` can be taken now; one that comes before any CONNECT logs in as nobody."""
        if self.client is not None:
            return True
        self.postpone(item)
        self.login(self._for_others(self._nobody()))
        return False

    # -- publishing -------------------------------------------------------------------------------------------------

    def on_pub(self, pub: wire.Pub) -> None:
        """Publish a message that was not taken in a run: oddly spelled, or on a verbose or pedantic connection."""
        if not self._first(pub):
            return
        subject, reply = pub.subject, pub.reply
        if self.options.pedantic and (topics.has_wildcard(subject) or topics.has_empty_token(subject)):
            self.refuse(ClientError("Invalid Publish Subject", fatal=False))
        if wire.is_closed(subject) or not self._may_publish(subject):
            self.refuse(denied(b"Publish to", self._mapped(subject)))
        elif wire.is_closed_reply(reply):
            self.refuse(denied(b"Publish with Reply of", reply))
        else:
            self._okay()
            self._publish(pub)

    def _may_publish(self, subject: bytes) -> bool:
        topic, replies = topics.under(self.listener.prefix, subject), self.subscriptions.replies
        return self._logged_in.gate.permits(topic) or (replies is not None and replies.opens(topic))

    def _mapped(self, subject: bytes) -> bytes:
        """Give what a mapping makes of a subject: it is there that one may or may not publish."""
        prefix = self.listener.prefix
        return topics.beneath(prefix, self._logged_in.router.mapped(topics.under(prefix, subject))) or subject

    def _publish(self, pub: wire.Pub) -> None:
        """Publish what is allowed; a subject with an empty token reaches nobody, whoever subscribed."""
        prefix = self.listener.prefix
        reply = topics.under(prefix, pub.reply) if pub.reply else b""
        message = Message(topics.under(prefix, pub.subject), pub.payload, reply, pub.headers)
        if not topics.has_empty_token(pub.subject):
            self.publish(wire.OddRun([message]))
        elif reply and self.options.no_responders:
            answer_503(self._logged_in, message, prefix)

    def may_not(self, batch: Batch) -> bool:
        """Answer each message that is not allowed, not even as a response; the connection stays."""
        subject = topics.beneath(self.listener.prefix, batch.topic) or b""
        replies = self.subscriptions.replies
        for message in batch:
            if replies is not None and replies.use(batch.topic):
                run = wire.OddRun([message])
                self._passed(run, self._logged_in.answer(run))
            else:
                self.refuse(denied(b"Publish to", subject))
        return True

    def _unheard(self, batch: Batch) -> None:
        """Tell who asks that nobody hears."""
        for message in batch:
            if message.reply:
                answer_503(self._logged_in, message, self.listener.prefix)

    @property
    def _logged_in(self) -> Client:
        client: Any = self.client  # there is one wherever this is asked
        return client  # type: ignore[no-any-return]

    # -- subscribing ------------------------------------------------------------------------------------------------

    def on_sub(self, sub: wire.Sub) -> None:
        """Subscribe, and to what the SUBs behind it ask for, too; a sid that is in use keeps what it has."""
        if self._first(sub):
            self._begin(sub)
            for wish in self.wire.subs():  # a client that comes back has thousands
                self._begin(wish)

    def _begin(self, wish: wire.Wish) -> None:
        try:
            self.subscriptions.begin(wish, self._logged_in, self.options)
        except ClientError as error:
            self.refuse(error)
        else:
            self._okay()

    def on_unsub(self, unsub: wire.Unsub) -> None:
        """End a subscription, now or after so many messages; an unknown one is no error."""
        if self._first(unsub):
            self.subscriptions.end(unsub, self._logged_in)
            self._okay()

    # -- keeping alive ----------------------------------------------------------------------------------------------

    def on_ping(self, ping: wire.Ping) -> None:
        """Answer; behind the first answer stands who the client is here, as nats-server has it since 2.12."""
        if not self._first(ping):
            return
        self.outbox.put(b"PONG\r\n")
        if self._connected and not self.settled:
            self.settled = True
            self.inform(account=True)

    def on_pong(self, pong: wire.Pong) -> None:
        """Note that the client has answered."""
        if self._first(pong):
            self.keep_alive.answered()

    def on_info(self, said: wire.ServerInfo) -> None:
        """Ignore INFO from a client, if it is JSON."""
        if self._first(said):
            read_object(said.options)

    def on_okay(self, okay: wire.Okay) -> None:
        """Ignore +OK from a client."""
        self._first(okay)

    def _okay(self) -> None:
        if self.options.verbose:
            self.outbox.put(b"+OK\r\n")
