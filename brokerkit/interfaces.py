"""The seams: what a plugin offers, what a checker takes, what a login gives.

Two kinds of plugin are found by ``twisted.plugin``: ``IProtocolPlugin`` (a protocol that can be listened for) and
``ICheckerPlugin`` (a source of users, named on the command line and in the configuration).
"""

from __future__ import annotations

from twisted.cred.credentials import ICredentials
from zope.interface import Attribute, Interface


class IClient(Interface):
    """A logged-in connection or request; see ``brokerkit.client.Client``."""

    user = Attribute("The ``User`` it acts for.")


class IToken(ICredentials):
    """A secret that names its user by itself."""

    token = Attribute("bytes")


class ICertificate(ICredentials):
    """A client certificate that was verified in the TLS handshake; nothing more has to be proved."""

    username = Attribute("bytes: the name that the listener's rule finds in it.")


class INkeySignature(ICredentials):
    """A nonce that this broker has sent, signed with the nkey of a user."""

    public_key = Attribute("str: the key (``U...``), as the peer gives it.")

    def is_signed() -> bool:
        """Say whether the signature was made with that key."""


class IJwt(ICredentials):
    """A NATS JWT of a user, and the signature of a nonce that this broker has sent, made with the user's nkey."""

    jwt = Attribute("str: the token, as the peer gives it.")
    address = Attribute("str: the host that the peer comes from, empty if it has none.")

    def is_signed_by(public_key: str) -> bool:
        """Say whether the nonce was signed with that key."""


class IDelegated(ICredentials):
    """All that a client has shown, for somebody else to decide about."""

    connect = Attribute("Mapping[str, object]: what it has said when it connected, in NATS' words.")
    client = Attribute("Mapping[str, object]: what is known of the connection, in NATS' words.")


class IVouched(ICredentials):
    """Nothing was shown; the operator has said who such a peer is."""

    username = Attribute("bytes: the name of the user.")


class IAnonymousRequest(ICredentials):
    """A request over HTTP that shows no credentials; never a connection that has to log in."""


class IProtocolPlugin(Interface):
    """A protocol that brokerkit can speak.

    Its objects are loaded by every ``twistd --help`` on the machine, so they import nothing heavy before they are asked
    for a service.  For a stream protocol, ``brokerkit.plugin.StreamProtocol`` implements this.

    ``brokerkit run`` listens on the default endpoint of each, unless it has an attribute ``by_itself`` that is false.

    One that has actions beside publish and subscribe says so in an attribute ``actions``: a mapping of action to one
    line of help (see ``brokerkit.actions``).  One whose listeners bring users of their own has a method ``sources``,
    which gives those of one listener: ``sources(listen, reactor, alone=...)``; ``alone`` says that no others are
    configured.
    """

    name = Attribute("str: the word for the flag (``--name``), the configuration and the metrics.")
    description = Attribute("str: one line for the help.")
    default = Attribute("str or None: the endpoint where none is said.")

    def settings() -> type:
        """Give the attrs class of what one listener of this protocol can be told, each field with a default."""

    def service(broker: object, listen: object) -> object:
        """Give the ``IService`` that listens as the ``brokerkit.config.Listen`` says.

        It is started and stopped with the broker; ``brokerkit.listener.Listener`` is one for any stream protocol.
        """

    def caller(name: str, secret: str) -> object | None:
        """Give the client's side (``ICaller``) for ``brokerkit pub`` and ``sub`` and for tests, or ``None``."""


class INotation(Interface):
    """How a protocol writes the names of topics; a protocol plugin may offer it beside ``IProtocolPlugin``.

    A name is what stands in the protocol, a topic (or a pattern) what it is in the broker; ``prefix`` is the
    ``topic_prefix`` of the listener.
    """

    def notation(name: bytes, prefix: bytes) -> tuple[bytes, bool]:
        """Give the topic or pattern of a name, and whether it is a literal name, whatever it looks like.

        Raises ``ValueError`` when the protocol has no such name.
        """

    def spelling(topic: bytes, prefix: bytes, literal: bool) -> bytes | None:
        """Undo ``notation``: give the name of a topic or pattern, or ``None`` where the protocol cannot say it."""


class ICaller(Interface):
    """The client's side of a stream protocol, without I/O: methods give the bytes to send, ``receive`` takes what came.

    It serves ``brokerkit pub`` and ``brokerkit sub`` and the tests that cross protocols.
    """

    ready = Attribute("bool: whether the login is done, as far as the protocol tells.")
    upgrades = Attribute(
        "bool: whether TLS begins in the midst of a connection; False if it is not there.  Who connects then sets"
        " ``hold``, waits until ``offered`` is no longer None, and sends what ``login()`` gives, through TLS where"
        " it is ``required`` or wanted."
    )

    def receive(chunk: bytes) -> tuple[list[object], bytes]:
        """Take what came; give the ``Message``s in it and the bytes to send now.

        It is called with nothing when the connection is made, for protocols in which the client speaks first.
        Raises ``ClientError`` with the broker's own words when the broker refuses something.
        """

    def publish(topic: bytes, payload: bytes) -> bytes:
        """Give the bytes that publish; raise ``ValueError`` when the protocol cannot say this."""

    def subscribe(pattern: bytes) -> bytes:
        """Give the bytes that subscribe; raise ``ValueError`` when the protocol cannot say this."""

    def settle() -> bytes:
        """Give the bytes that ask the broker for a sign of life, empty where the protocol has no such thing."""

    def settled() -> bool:
        """Say whether the broker has answered everything that ``settle`` asked."""


class ICheckerPlugin(Interface):
    """A source of users that can be named: ``KIND`` or ``KIND:ARGUMENT``."""

    kind = Attribute("str: the first word of ``--auth``.")
    usage = Attribute("str: how it is written, for the help.")
    description = Attribute("str: what it is, for the help.")

    def recognises(text: str) -> bool:
        """Say whether ``text`` is another spelling of this kind (``/path/users.json`` for ``json``)."""

    def checker(argument: str, reactor: object) -> object:
        """Give the ``ICredentialsChecker``; a service too if it has to be started and stopped.

        Raises ``ConfigError`` when the argument is not usable.
        """
