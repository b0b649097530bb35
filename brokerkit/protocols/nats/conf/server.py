"""What nats-server would be told, in one record: a file fills it, flags are put on top, and a plan is made of it.

The defaults are nats-server's.  Times are in seconds, sizes in bytes; a limit of 0 is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from brokerkit.grants import Responses
    from brokerkit.permissions import Lists
    from brokerkit.protocols.nats.conf.tree import Place
    from brokerkit.tenant import Export, Import, Mapping

ANYWHERE = "0.0.0.0"  # noqa: S104  nats-server's default
PORT = 4222
AUTH_TIMEOUT = 2.0
TLS_TIMEOUT = 2.0
PER_CENT = 100


def _without_places(found: list[tuple[Place, object]]) -> list[object]:
    """Give what two lists are compared by: a line that has moved is no change."""
    return [one for _, one in found]


@attrs.frozen
class Permissions:
    """What one user may do; what is not said is allowed."""

    publish: Lists
    subscribe: Lists
    responses: Responses | None = None


@attrs.define
class Person:
    """One user, as written down; ``account`` is empty for the default one."""

    place: Place = attrs.field(eq=False)
    name: str = ""
    password: str = attrs.field(default="", repr=False)
    nkey: str = ""
    permissions: Permissions | None = None
    protocols: tuple[str, ...] = ()
    account: str = ""


@attrs.define
class Callout:
    """Who decides about logins instead of this server."""

    place: Place = attrs.field(eq=False)
    issuer: str = ""
    account: str = ""
    auth_users: tuple[str, ...] = ()


@attrs.define
class Authorization:
    """Who may log in to the default account."""

    place: Place | None = attrs.field(default=None, eq=False)
    user: str = ""
    password: str = attrs.field(default="", repr=False)
    token: str = attrs.field(default="", repr=False)
    timeout: float | None = None
    users: list[Person] = attrs.field(factory=list)
    permissions: Permissions | None = None
    default_permissions: Permissions | None = None
    callout: Callout | None = None


@attrs.define
class Account:
    """One account: its users, what it shares, and what it may have."""

    place: Place = attrs.field(eq=False)
    name: str
    users: list[Person] = attrs.field(factory=list)
    exports: list[tuple[Place, Export]] = attrs.field(factory=list, eq=_without_places)
    imports: list[tuple[Place, Import]] = attrs.field(factory=list, eq=_without_places)
    mappings: list[Mapping] = attrs.field(factory=list)
    default_permissions: Permissions | None = None
    max_connections: int = 0
    max_subscriptions: int = 0
    max_payload: int = 0


@attrs.define
class Tls:
    """TLS of one listener."""

    place: Place | None = attrs.field(default=None, eq=False)
    cert_file: str = ""
    key_file: str = ""
    ca_file: str = ""
    verify: bool = False
    verify_and_map: bool = False
    timeout: float = TLS_TIMEOUT
    handshake: str = "after-info"
    fallback: float = 0.05
    pinned_certs: tuple[str, ...] = ()


@attrs.define
class WebSocket:
    """The listener for browsers; there is none while ``port`` is 0."""

    place: Place = attrs.field(eq=False)
    host: str = ANYWHERE
    port: int = 0
    advertise: str = ""
    no_tls: bool = False
    tls: Tls | None = None
    same_origin: bool = False
    allowed_origins: tuple[str, ...] = ()
    compression: bool = False
    handshake_timeout: float = 2.0
    no_auth_user: str = ""
    jwt_cookie: str = ""
    user_cookie: str = ""
    pass_cookie: str = ""
    token_cookie: str = ""


@attrs.define
class Operator:
    """Who vouches for accounts, and where their tokens are."""

    place: Place | None = attrs.field(default=None, eq=False)
    tokens: tuple[str, ...] = attrs.field(default=(), repr=False)  # JWTs of operators, or the names of files with them
    keys: tuple[str, ...] = ()
    memory: bool = False
    directory: str = ""
    preload: dict[str, str] = attrs.field(factory=dict, repr=False)
    pinned: tuple[str, ...] = ()


@attrs.define
class Server:
    """Everything."""

    source: str = "command line"
    digest: str = ""
    host: str = ANYWHERE
    port: int = PORT
    name: str = ""
    client_advertise: str = ""
    http_host: str = ""
    http_port: int = 0
    https_host: str = ""
    https_port: int = 0
    http_base_path: str = ""
    max_payload: int = 1024 * 1024
    max_pending: int = 64 * 1024 * 1024
    max_connections: int = 64 * 1024
    max_subscriptions: int = 0
    max_control_line: int = 4096
    ping_interval: float = 120.0
    ping_max: int = 2
    write_deadline: float = 10.0
    lame_duck_duration: float = 120.0
    lame_duck_grace: float = 10.0
    authorization: Authorization = attrs.field(factory=Authorization)
    accounts: dict[str, Account] = attrs.field(factory=dict)
    mappings: list[Mapping] = attrs.field(factory=list)
    system_account: str = "$SYS"
    system_place: Place | None = attrs.field(default=None, eq=False)
    no_auth_user: str = ""
    tls: Tls | None = None
    allow_non_tls: bool = False
    websocket: WebSocket | None = None
    operator: Operator = attrs.field(factory=Operator)
    pid_file: str = ""
    ports_file_dir: str = ""
    log_file: str = ""
    logtime: bool = True
    logtime_utc: bool = False
    debug: bool = False
    trace: bool = False
    warnings: list[str] = attrs.field(factory=list)
