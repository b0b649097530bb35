"""What protocol plugins are made of, and how they are found.

A file in ``twisted/plugins/`` holds a ``StreamProtocol`` with the dotted name of its session class; the class is
imported when a listener is made.  HTTP and datagram protocols implement ``IProtocolPlugin`` themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.plugin import IPlugin, getPlugins
from twisted.python.reflect import namedAny
from zope.interface import implementer

from brokerkit.errors import OperatorError
from brokerkit.interfaces import INotation, IProtocolPlugin
from brokerkit.topics import beneath, has_wildcard, is_pattern, under

if TYPE_CHECKING:
    from collections.abc import Mapping


@implementer(IPlugin, IProtocolPlugin, INotation)
class StreamProtocol:
    """A protocol of one connection, one session.

    ``session`` and ``caller`` are dotted names of classes; ``notation`` is that of a module with the two functions of
    ``INotation``, which is not needed where names are written as topics are.
    ``like`` is the protocol whose names it writes in the same way, if there is one.
    ``actions`` are those that it brings beside publish and subscribe, each with a line of help.
    """

    def __init__(
        self,
        name: str,
        session: str,
        *,
        description: str = "",
        default: str | None = None,
        caller: str | None = None,
        notation: str | None = None,
        actions: Mapping[str, str] | None = None,
        like: str = "",
    ) -> None:
        """Take the names; nothing is imported yet."""
        self.name = name
        self.description = description or name
        self.default = default
        self._session = session
        self._caller = caller
        self._notation = notation
        self.actions = dict(actions or {})
        self.like = like

    def settings(self) -> Any:  # noqa: ANN401  the session's own class
        """Give the session's settings class."""
        return namedAny(self._session).settings

    def service(self, broker: Any, listen: Any) -> Any:  # noqa: ANN401  a Broker, a Listen, an IService
        """Give the listener."""
        from brokerkit.listener import Listener

        settings = listen.settings if listen.settings is not None else self.settings()()
        return Listener(broker, listen, namedAny(self._session), settings)

    def caller(self, name: str, secret: str) -> Any:  # noqa: ANN401  an ICaller
        """Give the client's side, if there is one."""
        return namedAny(self._caller)(name, secret) if self._caller else None

    def notation(self, name: bytes, prefix: bytes) -> tuple[bytes, bool]:
        """Give the topic or pattern of a name, and whether it is literal; raise ``ValueError`` if it is no name."""
        if self._notation:
            read: tuple[bytes, bool] = namedAny(self._notation).notation(name, prefix)
            return read
        return under(prefix, name), not (has_wildcard(name) and is_pattern(name))

    def spelling(self, topic: bytes, prefix: bytes, literal: bool) -> bytes | None:
        """Give the name of a topic or pattern, or ``None`` where the protocol cannot say it."""
        if self._notation:
            name: bytes | None = namedAny(self._notation).spelling(topic, prefix, literal)
            return name
        return beneath(prefix, topic)


def protocols() -> dict[str, Any]:
    """Give every installed protocol by its name; raise ``OperatorError`` if two have the same."""
    found: dict[str, Any] = {}
    for plugin in getPlugins(IProtocolPlugin):
        if plugin.name in found:
            text = f"two protocol plugins are called {plugin.name!r}: {found[plugin.name]!r} and {plugin!r}"
            raise OperatorError(text)
        found[plugin.name] = plugin
    return dict(sorted(found.items()))
