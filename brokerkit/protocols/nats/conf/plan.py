"""From a ``Server`` to a configuration of brokerkit: the tenants, the listeners, and who is asked about users.

What is not in a ``Config`` (names of files for process id, ports and log) is for whoever runs the program.
"""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from brokerkit.config import Config, Listen
from brokerkit.errors import OperatorError
from brokerkit.protocols.nats.conf.accounts import DEFAULT
from brokerkit.protocols.nats.conf.people import ServerUsers, everybody, tenant_of
from brokerkit.protocols.nats.conf.server import ANYWHERE, AUTH_TIMEOUT
from brokerkit.tenant import Import, Tenant
from brokerkit.tls import ANY

if TYPE_CHECKING:
    from brokerkit.protocols.nats.conf.server import Account, Callout, Server, Tls, WebSocket

UNBOUNDED = 2**31 - 1
NATS, WEBSOCKET, MONITOR = "nats", "nats-websocket", "nats-monitor"


def plan(server: Server) -> Config:
    """Give the configuration; raise ``OperatorError`` for what cannot be had on this machine, or does not fit."""
    _check_no_auth_user(server)
    return Config(
        name=server.name or "brokerkit",
        tenants=tenants(server),
        listen=tuple(listens(server)),
        source=server.source,
    )


def sources(server: Server, reactor: Any) -> list[Any]:  # noqa: ANN401  any reactor, sources of users
    """Give the sources of users, of which the first takes others at a reload; raise ``OperatorError``."""
    found: list[Any] = [ServerUsers(server)]
    if server.operator.place is not None:
        from brokerkit.protocols.nats.conf.vouched import source

        found.append(source(server, reactor))
    if server.authorization.callout is not None:
        found.append(_callout(server, server.authorization.callout))
    return found


def _callout(server: Server, said: Callout) -> object:
    """Give the source that has others decide."""
    from brokerkit.checkers.callout import Callout as Source

    account = "" if said.account == DEFAULT else tenant_of(said.account, server)
    return Source(said.issuer, said.auth_users, account)


def _check_no_auth_user(server: Server) -> None:
    names = {one.nkey or one.name for one in everybody(server)}
    for name in (server.no_auth_user, server.websocket.no_auth_user if server.websocket else ""):
        if name and name not in names:
            raise OperatorError(f'{server.source}: no_auth_user: "{name}" is no user of this file')


# -- tenants ------------------------------------------------------------------------------------------------------


def tenants(server: Server) -> tuple[Tenant, ...]:
    """Give the default tenant, and one for each account."""
    default = Tenant("", mappings=tuple(server.mappings))
    return (default, *(_tenant(account, server) for account in server.accounts.values()))


def _tenant(account: Account, server: Server) -> Tenant:
    return Tenant(
        tenant_of(account.name, server),
        tuple(
            _with_tenants(export, tuple(tenant_of(one, server) for one in export.accounts))
            for _, export in account.exports
        ),
        tuple(_from_tenant(one, tenant_of(one.source, server)) for _, one in account.imports),
        tuple(account.mappings),
        account.max_connections,
        account.max_subscriptions,
        account.max_payload,
    )


def _with_tenants(export: Any, names: tuple[str, ...]) -> Any:  # noqa: ANN401  an Export
    import attrs

    return attrs.evolve(export, accounts=names)


def _from_tenant(one: Import, source: str) -> Import:
    import attrs

    return attrs.evolve(one, source=source)


# -- listeners ----------------------------------------------------------------------------------------------------


def listens(server: Server) -> list[Listen]:
    """Give what is to be listened for: clients, and browsers and whoever watches where they are wanted."""
    found = [_clients(server)]
    if server.websocket is not None and server.websocket.port:
        found.append(_browsers(server, server.websocket))
    if server.http_port:
        host = server.http_host or server.host
        found.append(Listen(MONITOR, endpoint(host, server.http_port), settings=_monitor(server)))
    if server.https_port:
        if server.tls is None:
            raise OperatorError(f"{server.source}: https needs tls {{ }} with a certificate")
        host = server.https_host or server.http_host or server.host
        secure = endpoint(host, server.https_port, server.tls)
        found.append(Listen(MONITOR, secure, settings=_monitor(server)))
    return found


def _monitor(server: Server) -> object:
    from brokerkit.protocols.nats.monitor.service import Settings

    return Settings(http_base_path=server.http_base_path)


def _clients(server: Server) -> Listen:
    from brokerkit.protocols.nats.session import Settings

    tls = server.tls
    secure: dict[str, Any] = {}
    if tls is not None:
        secure = {
            "handshake": tls.handshake,
            "handshake_fallback": tls.fallback,
            "tls_timeout": tls.timeout,
            "plain": server.allow_non_tls and tls.handshake != "first",
            "pinned_certs": tls.pinned_certs,
        }
    settings = Settings(**_common(server, tls), client_advertise=server.client_advertise, **secure)
    where = endpoint(server.host, server.port, tls)
    return Listen(NATS, where, settings=settings, no_auth_user=server.no_auth_user, **certificates(tls))


def _common(server: Server, tls: Tls | None) -> dict[str, Any]:
    """Give the settings that every listener for clients has."""
    most = server.max_connections or UNBOUNDED
    timeout = server.authorization.timeout
    return {
        "server_name": server.name,
        "max_payload": server.max_payload or 1024 * 1024,
        "max_control_line": server.max_control_line or 4096,
        "ping_interval": server.ping_interval or 120.0,
        "ping_max": server.ping_max or 2,
        "login_timeout": timeout or (AUTH_TIMEOUT if tls is None else tls.timeout + 1),
        "max_connections": most,
        "max_connections_per_address": most,
        "max_subscriptions": server.max_subscriptions or UNBOUNDED,
        "outbox_limit": server.max_pending or 64 * 1024 * 1024,
        "outbox_deadline": server.write_deadline or 10.0,
        "lame_duck_duration": server.lame_duck_duration,
        "lame_duck_grace_period": server.lame_duck_grace,
    }


def _browsers(server: Server, found: WebSocket) -> Listen:
    from brokerkit.protocols.nats.websocket import Settings

    settings = Settings(
        **_common(server, found.tls),
        client_advertise=found.advertise,
        allowed_origins=found.allowed_origins or _every_page(found),
        same_origin=found.same_origin,
        compression=found.compression,
        handshake_timeout=found.handshake_timeout,
        no_tls=found.no_tls and found.tls is None,
        jwt_cookie=found.jwt_cookie,
        user_cookie=found.user_cookie,
        pass_cookie=found.pass_cookie,
        token_cookie=found.token_cookie,
    )
    where = endpoint(found.host, found.port, found.tls)
    nobody = found.no_auth_user or server.no_auth_user
    return Listen(WEBSOCKET, where, settings=settings, no_auth_user=nobody, **certificates(found.tls))


def _every_page(found: WebSocket) -> tuple[str, ...]:
    """Allow every page to use cookies where nats-server would; elsewhere we want it to be said."""
    named = found.jwt_cookie or found.user_cookie or found.pass_cookie or found.token_cookie
    return ("*",) if named and not found.same_origin else ()


def certificates(tls: Tls | None) -> dict[str, Any]:
    """Give what is asked of clients' certificates."""
    if tls is None or not (tls.verify or tls.verify_and_map):
        return {}
    asked = {"client_ca": tls.ca_file}
    return {**asked, "certificate_user": ANY} if tls.verify_and_map else asked


def endpoint(host: str, port: int, tls: Tls | None = None) -> str:
    """Give the endpoint string for host and port, of which -1 is any port that is free."""
    words = ["tcp" if tls is None else "tls", f"port={max(port, 0)}", f"interface={_escaped(_address(host))}"]
    if tls is not None:
        words += f"key={_escaped(tls.key_file)}", f"cert={_escaped(tls.cert_file)}"
    return ":".join(words)


def _address(host: str) -> str:
    """Give the address of a host of this machine."""
    host = (host or ANYWHERE).removeprefix("[").removesuffix("]")
    with suppress(ValueError):
        return str(ip_address(host))
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise OperatorError(f"{host}: no address is known for this host") from None
    return str(found[0][4][0])


def _escaped(value: str) -> str:
    return re.sub(r"([\\:=])", r"\\\1", value)
