"""The service around a site: it opens its port, says where, and closes everything in order."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock

from brokerkit.errors import OperatorError
from brokerkit.web import Answer, HttpListener, Route, Site
from tests.talk import Line


def _listener(reactor: Any) -> HttpListener:
    site = Site([Route("GET", "/", lambda _: Answer(200, b"{}"))], reactor, protocol="shop")
    return HttpListener(site, TCP4ServerEndpoint(reactor, 8080), "tcp:port=8080")


def test_from_start_to_stop() -> None:
    """It listens while it runs; when it stops, who is there gets a moment, and then it is done."""
    reactor = MemoryReactorClock()
    listener = _listener(reactor)
    assert listener.address == ""
    listener.privilegedStartService()
    listener.startService()
    assert listener.address == "0.0.0.0:8080"
    assert len(reactor.tcpServers) == 1
    line = Line(listener.site)
    assert line.ask("GET", "/").status == 200
    stopped: list[object] = []
    listener.stopService().addCallback(stopped.append)
    line.advance()
    assert line.closed
    assert len(stopped) == 1
    assert listener.address == ""


def test_a_port_that_is_in_use() -> None:
    """It is one line."""
    reactor = MemoryReactorClock()

    def refuse(*_: object, **__: object) -> None:
        raise CannotListenError("", 8080, OSError(98, "Address already in use"))

    reactor.listenTCP = refuse
    with pytest.raises(OperatorError, match="port 8080 on every address is in use"):
        _listener(reactor).startService()
