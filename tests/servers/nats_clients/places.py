"""What a server is told for each place that clients go to: the same file of nats-server's form for either broker.

``NATS_PORT``, ``WEBSOCKET_PORT`` and ``MONITOR_PORT`` stand for ports.  A place has the listeners that its file names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import bcrypt

if TYPE_CHECKING:
    from tests.servers.nats_clients.documents import Organization

HASHED = bcrypt.hashpw(b"a longer secret", bcrypt.gensalt(4)).decode()

LISTEN = """
listen: "127.0.0.1:NATS_PORT"
lame_duck_duration: "30s"
lame_duck_grace_period: "1s"
"""
WEBSOCKET = """
websocket { listen: "127.0.0.1:WEBSOCKET_PORT", no_tls: true }
"""
TLS = """
tls { cert_file: "server.crt", key_file: "server.key", MORE }
"""
WEBSOCKET_TLS = """
websocket { listen: "127.0.0.1:WEBSOCKET_PORT", tls { cert_file: "server.crt", key_file: "server.key" } }
"""
ALICE = """
authorization { users: [ { user: alice, password: secret } ] }
"""
USERS = """
authorization {
  users: [
    { user: alice, password: secret }
    { user: hashed, password: "HASHED" }
    { nkey: NKEY }
    { user: guest, password: secret, permissions: {
        publish: ["guest.>", "_INBOX.>"], subscribe: { allow: ["guest.>", "_INBOX.>"], deny: "guest.secret" } } }
    { user: service, password: secret, permissions: { subscribe: "service.>", allow_responses: true } }
  ]
}
"""
ACCOUNTS = """
accounts {
  A {
    users: [ { user: a, password: secret } ]
    exports: [ { stream: "news.>" }, { service: "help.me" }, { service: "help.nobody" } ]
    mappings: { "old.*.*": "new.{{wildcard(2)}}.{{wildcard(1)}}" }
  }
  B {
    users: [ { user: b, password: secret } ]
    imports: [
      { stream: { account: A, subject: "news.>" }, prefix: "from.a" }
      { service: { account: A, subject: "help.me" }, to: "ask.a" }
      { service: { account: A, subject: "help.nobody" }, to: "ask.nobody" }
    ]
  }
  P { users: [ { user: public, password: "is never asked for" } ] }
}
no_auth_user: public
"""
LIMITS = """
max_connections: 1
"""
SYSTEM = """
accounts {
  $SYS { users: [ { user: admin, password: secret } ] }
  A { users: [ { user: a, password: secret } ] }
}
http: "127.0.0.1:MONITOR_PORT"
"""


def places(organization: Organization, nkey: str) -> dict[str, str]:
    """Give the files by the names of places; ``nkey`` is a public key that is let in."""
    preload = "\n".join(f"  {account}: {jwt}" for account, jwt in organization.accounts.items())
    operator = f"operator: {organization.operator}\nresolver: MEMORY\nresolver_preload {{\n{preload}\n}}\n"
    return {
        "plain": LISTEN + WEBSOCKET,
        "moves": LISTEN + WEBSOCKET,
        "limits": LISTEN + WEBSOCKET + LIMITS,
        "users": LISTEN + WEBSOCKET + USERS.replace("HASHED", HASHED).replace("NKEY", nkey),
        "token": LISTEN + WEBSOCKET + "authorization { token: t0ken }\n",
        "system": LISTEN + SYSTEM,
        "accounts": LISTEN + WEBSOCKET + ACCOUNTS,
        "jwt": LISTEN + WEBSOCKET + operator,
        "tls": LISTEN + WEBSOCKET_TLS + ALICE + TLS.replace("MORE", ""),
        "first": LISTEN + TLS.replace("MORE", "handshake_first: true"),
        "verify": LISTEN + TLS.replace("MORE", 'ca_file: "authority.crt", verify: true'),
        "mixed": LISTEN + TLS.replace("MORE", "") + "allow_non_tls: true\n",
    }
