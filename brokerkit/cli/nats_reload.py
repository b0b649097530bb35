"""Reading nats-server's configuration anew while it runs: all of it is taken, or nothing.

What can change does so for those who are connected: users who are gone are closed, rights that are gone are taken, an
account's imports are wired anew.  What cannot is said in one line, in nats-server's words, and then nothing changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from brokerkit.errors import OperatorError
from brokerkit.protocols.nats.conf.plan import NATS, WEBSOCKET, plan

if TYPE_CHECKING:
    from brokerkit.broker import Broker
    from brokerkit.config import Config, Listen
    from brokerkit.listener import Listener
    from brokerkit.protocols.nats.conf.people import ServerUsers
    from brokerkit.protocols.nats.conf.server import Server

# What is decided at the start: the attribute, and what nats-server calls it.
_FIXED = (
    ("host", "Host"),
    ("port", "Port"),
    ("name", "ServerName"),
    ("http_host", "HTTPHost"),
    ("http_port", "HTTPPort"),
    ("https_host", "HTTPHost"),
    ("https_port", "HTTPSPort"),
    ("http_base_path", "HTTPBasePath"),
    ("system_account", "SystemAccount"),
)
# What may be other and is told in the log when it is.
_TOLD = (
    ("authorization", "authorization users"),
    ("accounts", "accounts"),
    ("mappings", "mappings"),
    ("tls", "tls"),
    ("no_auth_user", "no_auth_user"),
    ("max_connections", "max_connections"),
    ("max_subscriptions", "max_subscriptions"),
    ("max_payload", "max_payload"),
    ("max_pending", "max_pending"),
    ("max_control_line", "max_control_line"),
    ("ping_interval", "ping_interval"),
    ("ping_max", "ping_max"),
    ("write_deadline", "write_deadline"),
    ("client_advertise", "client_advertise"),
    ("pid_file", "pid_file"),
    ("ports_file_dir", "ports_file_dir"),
    ("log_file", "log_file"),
    ("logtime", "logtime"),
    ("debug", "debug"),
    ("trace", "trace"),
    ("lame_duck_duration", "lame_duck_duration"),
    ("lame_duck_grace", "lame_duck_grace_period"),
)


def check(old: Server, new: Server) -> None:
    """Raise ``OperatorError`` if something is other that is decided at the start."""
    for attribute, called in _FIXED:
        before, after = getattr(old, attribute), getattr(new, attribute)
        if before != after:
            raise OperatorError(f"config reload not supported for {called}: old={before}, new={after}")
    for called, before, after in (
        ("Websocket", _place(old), _place(new)),
        ("TrustedOperators", _trust(old), _trust(new)),
        ("AuthCallout", old.authorization.callout, new.authorization.callout),
    ):
        if before != after:
            raise OperatorError(f"config reload not supported for {called}: restart to change it")


def _place(server: Server) -> tuple[object, ...]:
    found = server.websocket
    return () if found is None or not found.port else (found.host, found.port, found.tls)


def _trust(server: Server) -> tuple[object, ...]:
    operator = server.operator
    return operator.tokens, operator.keys, operator.memory, operator.directory, operator.pinned, operator.preload


def changes(old: Server, new: Server) -> list[str]:
    """Give the names of what is other, as the log says them."""
    return [called for attribute, called in _TOLD if getattr(old, attribute) != getattr(new, attribute)]


class Reload:
    """Puts another ``Server`` in the place of the one that a broker was made of."""

    def __init__(self, broker: Broker, users: ServerUsers) -> None:
        """Change that broker, and the source of its users."""
        self._broker = broker
        self._users = users

    def apply(self, new: Server) -> None:
        """Take it; raise ``OperatorError``, and change nothing, for what cannot be used."""
        config = plan(new)
        listens = {listen.protocol: listen for listen in config.listen}
        listeners = [one for one in self._broker.listeners if one.protocol in {NATS, WEBSOCKET}]
        _become_all([(listener, listens[listener.protocol]) for listener in listeners])
        self._tenants(config)
        self._users.take(new)
        self._broker.look_again()
        with self._broker.turn:
            for listener in listeners:
                _trim(listener)
        Deferred.fromCoroutine(self._broker.revocation.look(now=True))

    def _tenants(self, config: Config) -> None:
        tenants = self._broker.tenants
        wanted = {tenant.name for tenant in config.tenants}
        for name in [name for name in tenants if name not in wanted]:
            tenants.drop(name)
        tenants.put_all(config.tenants)


def _become_all(wanted: list[tuple[Listener, Listen]]) -> None:
    """Have listeners follow new settings, all of them or none."""
    done: list[tuple[Listener, Listen]] = []
    try:
        for listener, listen in wanted:
            former = listener.listen
            _become(listener, listen)
            done.append((listener, former))
    except OperatorError:
        for listener, former in done:
            _become(listener, former)
        raise


def _become(listener: Listener, listen: Listen) -> None:
    """Have a listener follow its new settings, and its connections the limits among them."""
    settings: Any = listen.settings
    spellings: Any = listener.shared.spellings
    listener.become(listen, settings)
    spellings.follow(settings.max_payload, settings.max_control_line)
    listener.shared.spellings = spellings
    for session in list(listener.sessions):
        one: Any = session
        one.keep_alive.follow(settings.ping_interval, settings.ping_max)
        one.outbox.follow(listener.limits)


def _trim(listener: Listener) -> None:
    """Close those who are too many now, the oldest last."""
    surplus = len(listener.sessions) - listener.settings.max_connections
    if surplus > 0:
        newest = sorted(listener.sessions, key=lambda session: session.cid, reverse=True)[:surplus]
        for session in newest:
            session.refuse(session.too_many())
