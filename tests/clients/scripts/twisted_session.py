"""Use hpfeeds' own Twisted service for one conversation, and print what it received as JSON lines.

    twisted_session.py HOST PORT IDENT SECRET [ROOTS]

With the directory ROOTS, it talks TLS and trusts the authorities in that directory's ``.pem`` files.

It subscribes to chan.one and chan.two, publishes to both, takes back chan.one, publishes to both
again, and ends when chan.sync, which comes last, has brought its own message back.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from hpfeeds.twisted import ClientSessionService
from twisted.internet import defer, task

if TYPE_CHECKING:
    from collections.abc import Generator


@defer.inlineCallbacks
def converse(
    reactor: Any, host: str, port: str, ident: str, secret: str, roots: str = ""
) -> Generator[defer.Deferred[Any], Any, None]:
    """Hold the conversation, and print each message received until the last."""
    endpoint = f"tls:{host}:{port}:trustRoots={roots}" if roots else f"tcp:{host}:{port}"
    service = ClientSessionService(endpoint, ident, secret)
    for channel in ("chan.one", "chan.two", "chan.sync"):
        service.subscribe(channel)
    service.startService()
    yield service.whenConnected.addTimeout(10, reactor)
    for channel in ("chan.one", "chan.two"):
        service.publish(channel, bytes(range(256)))
    service.unsubscribe("chan.one")
    for channel in ("chan.one", "chan.two", "chan.sync"):
        service.publish(channel, b"again")
    channel = ""
    while channel != "chan.sync":
        sender, channel, payload = yield service.read().addTimeout(10, reactor)
        print(json.dumps([sender, channel, payload.hex()]))  # noqa: T201
    yield service.stopService()


if __name__ == "__main__":
    task.react(converse, sys.argv[1:])
