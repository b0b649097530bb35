"""The sockets of discovery: at the port number of the API, wherever a broadcast or multicast for it can arrive.

A socket on one address of IPv4 gets no broadcasts, so others beside it are bound to the addresses that those go to;
what they hear is answered from the first.  Of IPv6 the group is joined on every interface, again and again, since
interfaces come and go.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from brokerkit.endpoints import explain_bind_failure
from brokerkit.errors import OperatorError
from brokerkit.protocols.bpbroker.discovery import LARGEST, Ears
from brokerkit.protocols.bpbroker.places import EVERYBODY, GROUP, broadcast_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.protocols.bpbroker.discovery import Discovery

log = Logger()

JOIN_AGAIN = 60.0  # seconds


class Listening(Service):
    """Listens for questions; ``where`` gives the host and the port of the API, once that listens."""

    def __init__(self, discovery: Discovery, where: Callable[[], tuple[str, int]], reactor: Any) -> None:  # noqa: ANN401
        """Take what answers; nothing is opened yet."""
        self._discovery = discovery
        self._where = where
        self._reactor = reactor
        self._ports: list[Any] = []
        self._groups: list[socket.socket] = []
        self._joining = LoopingCall(self.join)
        self._joining.clock = reactor

    def startService(self) -> None:
        """Open the sockets; raise ``OperatorError`` if the first of them cannot be."""
        super().startService()  # type: ignore[no-untyped-call]
        host, port = self._where()
        try:
            self._open(host, port)
        except OSError as error:
            failed = CannotListenError(host, port, error)
            raise OperatorError(explain_bind_failure(failed, f"discovery by UDP at port {port}")) from None
        if self._groups:
            self._joining.start(JOIN_AGAIN)

    def _open(self, host: str, port: int) -> None:
        if ":" in host:
            mouth = self._listen(socket.AF_INET6, host, port)
            if host == "::":
                self._groups.append(self._ports[-1].socket)
                self._listen(socket.AF_INET, EVERYBODY, port)
            else:
                self._beside(socket.AF_INET6, GROUP, port, mouth)
                self._groups.append(self._ports[-1].socket)
            return
        mouth = self._listen(socket.AF_INET, host or EVERYBODY, port)
        broadcast = broadcast_of(host)
        if host not in {"", EVERYBODY} and broadcast:
            self._beside(socket.AF_INET, broadcast, port, mouth)
            self._beside(socket.AF_INET, "255.255.255.255", port, mouth)

    def _beside(self, family: int, host: str, port: int, mouth: Ears) -> None:
        """Listen for what is not sent to an address of ours; systems differ in whether that can be."""
        try:
            self._listen(family, host, port, shared=True).mouth = mouth
        except OSError as error:
            log.warn("discovery does not hear what is sent to {host}: {why}", host=host, why=error.strerror or error)

    def _listen(self, family: int, host: str, port: int, *, shared: bool = False) -> Ears:
        ears = Ears(self._discovery)
        with socket.socket(family, socket.SOCK_DGRAM) as opened:
            opened.setblocking(False)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if shared:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind((host, port))
            self._ports.append(self._reactor.adoptDatagramPort(opened.fileno(), family, ears, LARGEST + 1))
        return ears

    def join(self) -> None:
        """Join the group on the interfaces that there are now."""
        for number, _ in socket.if_nameindex():
            request = socket.inet_pton(socket.AF_INET6, GROUP) + number.to_bytes(4, sys.byteorder)
            for one in self._groups:
                with suppress(OSError):  # it is joined already, or is no interface for this
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)

    def stopService(self) -> Deferred[None]:
        """Close the sockets."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._joining.running:
            self._joining.stop()
        ports, self._ports, self._groups = self._ports, [], []
        return Deferred.fromCoroutine(_close(ports))


async def _close(ports: list[Any]) -> None:
    for port in ports:
        await maybeDeferred(port.stopListening)
