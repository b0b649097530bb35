"""What somebody else is told about a client, who is to decide whether it comes in (``auth_callout`` of nats-server).

Names of keys are those of the public library ``nats-io/jwt``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.credentials import Delegated

if TYPE_CHECKING:
    from twisted.cred.credentials import ICredentials

    from brokerkit.protocols.nats.session import NatsSession

_SAID = ("jwt", "nkey", "sig", "auth_token", "user", "name", "lang", "version", "protocol")


def delegated(session: NatsSession, credentials: ICredentials) -> Delegated:
    """Give the credentials together with all that the client has said."""
    options = session.options
    connect = {key: value for key in _SAID if (value := getattr(options, key))}
    if options.password:
        connect["pass"] = options.password
    client: dict[str, Any] = {
        "host": session.host,
        "id": session.cid,
        "user": options.user,
        "name": options.name,
        "kind": "Client",
        "type": "websocket" if session.listener.protocol == "nats-websocket" else "nats",
        "nonce": session.nonce.decode() if options.sig else "",
    }
    return Delegated(credentials, connect, {key: value for key, value in client.items() if value})
