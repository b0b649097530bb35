"""Advertising by mDNS: the broker as ``_bpbroker._tcp``, with its fingerprint, so that everybody's tools see it.

Never a name of the registry, and no secret.  The library has a thread and a loop of its own, and takes seconds to
register, so all that is asked of it is asked in a thread; at the end it says goodbye, or others would go on to list us.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from brokerkit.checkers.threads import Threads
from brokerkit.errors import ConfigError, Words

if TYPE_CHECKING:
    from collections.abc import Callable

log = Logger()

KIND = "_bpbroker._tcp.local."
FAREWELL = 5.0  # seconds that saying goodbye may take


def find_library(where: str) -> Any:  # noqa: ANN401  a module
    """Give the library; raise ``ConfigError`` if it is not installed."""
    try:
        import zeroconf
    except ImportError:
        expected = "the package zeroconf beside it: pip install 'brokerkit[mdns]'"
        raise ConfigError(where, "mdns", Words("true"), expected) from None
    return zeroconf


class Advertising(Service):
    """Advertises while it runs; ``told`` gives host, port and fingerprint when the API listens."""

    def __init__(
        self,
        library: Any,  # noqa: ANN401  the module, or a test's
        name: str,
        told: Callable[[], tuple[str, int, str]],
        reactor: Any,  # noqa: ANN401  any reactor
        threads: Any = None,  # noqa: ANN401  Threads, or a test's
    ) -> None:
        """Advertise as ``name``, if nobody else on the link is called that."""
        self._library = library
        self._name = name
        self._told = told
        self._reactor = reactor
        self._threads = threads or Threads(reactor, 1)
        self._there: tuple[Any, Any] | None = None
        self._begun: Deferred[Any] | None = None

    def startService(self) -> None:
        """Begin to advertise; where that fails, say so in the log."""
        super().startService()  # type: ignore[no-untyped-call]
        self._threads.start()
        told = self._told()
        self._begun = self._threads.call(lambda: self._begin(*told))
        self._begun.addErrback(self._failed)

    def _failed(self, failure: Any) -> None:  # noqa: ANN401  a Failure
        if not failure.check(CancelledError):
            log.error("not advertised by mDNS: {error}", error=failure.getErrorMessage() or failure.type.__name__)

    def _begin(self, host: str, port: int, fingerprint: str) -> None:
        """Register; in a thread."""
        library = self._library
        everywhere = host in {"", "0.0.0.0", "::"}  # noqa: S104  every address
        where = library.InterfaceChoice.All if everywhere else [host]
        opened = library.Zeroconf(interfaces=where)
        machine = socket.gethostname().partition(".")[0] or "bpbroker"
        info = library.ServiceInfo(
            KIND,
            f"{self._name}.{KIND}",
            port=port,
            properties={"v": "1", "fp": fingerprint},
            server=f"{machine}.local.",
            parsed_addresses=addresses() if everywhere else [host],
        )
        self._there = (opened, info)
        opened.register_service(info, allow_name_change=True)

    def stopService(self) -> Deferred[None]:
        """Say goodbye."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        goodbye: Deferred[Any] = self._threads.call(self._end)
        goodbye.addTimeout(FAREWELL, self._reactor).addErrback(lambda _: None)
        await goodbye
        self._threads.stop()

    def _end(self) -> None:
        there, self._there = self._there, None
        if there is not None:
            opened, info = there
            try:
                opened.unregister_service(info)
            finally:
                opened.close()


def addresses() -> list[str]:
    """Give the addresses under which others can reach this machine."""
    from brokerkit.protocols.bpbroker.places import interfaces

    found = [one.ip for _, one in interfaces()]
    return [str(ip) for ip in found if not ip.is_loopback and not (ip.version == 6 and ip.is_link_local)]  # noqa: PLR2004
