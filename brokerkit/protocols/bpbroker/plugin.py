"""What twistd finds of this protocol; everything heavy is imported when a listener is made."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.plugin import IPlugin
from zope.interface import implementer

from brokerkit.interfaces import INotation, IProtocolPlugin
from brokerkit.topics import beneath, under

DEFAULT = "tls:port=20443:interface=127.0.0.1"


@implementer(IPlugin, IProtocolPlugin, INotation)
class BpbrokerPlugin:
    """The registry over HTTPS, and discovery at the same port number."""

    name = "bpbroker"
    description = "bpbroker, a service registry with discovery (HTTPS and UDP)"
    default: str | None = DEFAULT
    by_itself = False  # a registry has rights of its own, which the demo user has not
    actions: ClassVar[dict[str, str]] = {
        "registry.read": "Read an entry of the registry.",
        "registry.write": "Write an entry of the registry.",
        "bpbroker.execute": "Call a method of an extension: PACKAGE.METHOD.",
    }

    def settings(self) -> Any:  # noqa: ANN401  the settings class
        """Give the settings class."""
        from brokerkit.protocols.bpbroker.settings import Settings

        return Settings

    def sources(self, listen: Any, reactor: Any, *, alone: bool) -> list[Any]:  # noqa: ANN401  a Listen, sources of users
        """Give the source of the access keys in the ``bpbroker.json`` that is named; ``alone``: there are no others."""
        if not listen.settings or not listen.settings.config:
            return []
        from brokerkit.protocols.bpbroker import document
        from brokerkit.protocols.bpbroker.keys_file import KeysFile

        return [KeysFile(document.files(listen.settings), reactor, opens=alone, tenant=listen.tenant or "")]

    def service(self, broker: Any, listen: Any) -> Any:  # noqa: ANN401  a Broker, a Listen, an IService
        """Give the listener."""
        from brokerkit.protocols.bpbroker.service import Bpbroker

        return Bpbroker(broker, listen)

    def caller(self, name: str, secret: str) -> None:
        """Nobody publishes or subscribes by this protocol."""

    def notation(self, name: bytes, prefix: bytes) -> tuple[bytes, bool]:
        """Give the topic of an entry's name; raise ``ValueError`` for what is no UTF-8."""
        from brokerkit.registry import naming

        return under(prefix, naming.topic(name.decode())), True

    def spelling(self, topic: bytes, prefix: bytes, literal: bool) -> bytes | None:
        """Give the name of the entry that a topic stands for, ``None`` if it stands for none."""
        from brokerkit.registry import naming

        token = beneath(naming.PREFIX, beneath(prefix, topic) or b"")
        if token is None or not literal:
            return None
        try:
            return naming.name_of(token).encode()
        except ValueError:
            return None
