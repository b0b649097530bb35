"""``python -m bench.empty_handler``: twisted.web with a handler that does nothing, to measure beside.

It answers every request with 200 and a few bytes, as a registry would if it had nothing to do; over TLS, with a
certificate of the same kind as brokerkit's own in the working directory, or with ``--plain`` without.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.web.resource import Resource
from twisted.web.server import Site

from brokerkit.protocols.bpbroker import certificate

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort
    from twisted.web.server import Request

ANSWER = b'{"success": true, "message": "Success", "data": {"_str": "bench"}}'


class Empty(Resource):
    """Answers whatever it is asked."""

    isLeaf = True  # noqa: N815  Twisted's name

    def render(self, request: Request) -> bytes:
        """Give the bytes, with a length."""
        request.content.read()
        request.setHeader(b"content-type", b"application/json")
        return ANSWER


def main() -> None:
    """Listen at a port of the kernel's choice, and say which."""
    Factory.noisy = False

    def listening(port: IListeningPort) -> None:
        sys.stdout.write(f"empty listening on 127.0.0.1:{port.getHost().port}\n")
        sys.stdout.flush()

    endpoint = serverFromString(reactor, _plain() if "--plain" in sys.argv else _secure())
    endpoint.listen(Site(Empty())).addCallback(listening)
    reactor.run()  # type: ignore[attr-defined]


def _plain() -> str:
    return "tcp:port=0:interface=127.0.0.1"


def _secure() -> str:
    here = Path.cwd()
    certificate.provide(here, (), time.time())
    key, cert = certificate.paths(here)
    return f"ssl:port=0:interface=127.0.0.1:privateKey={key}:certKey={cert}"


if __name__ == "__main__":
    main()
