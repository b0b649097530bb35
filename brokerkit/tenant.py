"""What the operator says of a tenant: a separate space of topics, and what it shares with others.

Plain records, whoever writes them: the configuration, nats-server's configuration file, an account's JWT.  They say
what is wanted; ``brokerkit.tenants`` does it.  Names of topics are bytes, names of tenants text.  The tenant that has
no name is everybody's who is given none (NATS calls it ``$G``), and ``$SYS`` is the broker's own.
"""

from __future__ import annotations

import attrs

from brokerkit.topics import covers

DEFAULT = ""
UNNAMED = "$G"  # what the default tenant is called where a name is needed, as in NATS
SYSTEM = "$SYS"

STREAM = "stream"
SERVICE = "service"
KINDS = (STREAM, SERVICE)

SINGLETON = "singleton"
STREAMED = "stream"
CHUNKED = "chunked"
RESPONSES = (SINGLETON, STREAMED, CHUNKED)

ALL_OF_IT = 100  # per cent


@attrs.frozen
class Export:
    """What others may have: the messages of a pattern (``stream``), or answers to requests there (``service``).

    ``accounts`` are the tenants that may import it, all if there are none.  ``response`` says how many answers one
    request of a service gets: one (``singleton``), or any number (``stream``, ``chunked``).
    """

    kind: str
    pattern: bytes
    accounts: tuple[str, ...] = ()
    response: str = SINGLETON


@attrs.frozen
class Import:
    """What is taken from another tenant, ``source``, and how it is called here.

    A stream arrives under ``prefix``, a dot and its own topic, or as ``to`` says.  A service is asked under ``to``, or
    under its own topic where that is empty.  Both are at most what ``source`` exports.
    """

    kind: str
    source: str
    pattern: bytes
    prefix: bytes = b""
    to: bytes = b""


@attrs.frozen
class Destination:
    """Where so many per cent of a mapping's messages go; see ``brokerkit.mapping`` for how it is written."""

    to: bytes
    weight: int = ALL_OF_IT


@attrs.frozen
class Mapping:
    """What is published under ``pattern`` goes to one of the destinations instead.

    What their weights leave of the hundred goes on under its own topic.
    """

    pattern: bytes
    destinations: tuple[Destination, ...]


@attrs.frozen
class Tenant:
    """One tenant; a limit of 0 is none.

    ``max_connections`` are those of all its users together, ``max_subscriptions`` those of all its connections, and
    ``max_payload`` is in bytes.
    """

    name: str
    exports: tuple[Export, ...] = ()
    imports: tuple[Import, ...] = ()
    mappings: tuple[Mapping, ...] = ()
    max_connections: int = 0
    max_subscriptions: int = 0
    max_payload: int = 0


def exported(source: Tenant, one: Import) -> Export | None:
    """Give what ``source`` exports that holds all of an import, whoever may have it: the same pattern, else a wider."""
    fitting = [export for export in source.exports if export.kind == one.kind and covers(export.pattern, one.pattern)]
    return next((export for export in fitting if export.pattern == one.pattern), fitting[0] if fitting else None)


def allowed(source: Tenant, one: Import, tenant: str) -> Export | None:
    """Give what ``exported`` gives, if that tenant may have it."""
    export = exported(source, one)
    return export if export is not None and (not export.accounts or tenant in export.accounts) else None
