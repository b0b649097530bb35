"""A broker run as nats-server is: its log, its files, its signals, and its exit codes.

There is no twistd here: what starts ``nats-server`` waits for lines of its log and for the files that it writes, and
expects them within a second.
"""

from __future__ import annotations

import gc
import signal
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger, globalLogBeginner

from brokerkit.app import make_broker
from brokerkit.cli import nats_ports
from brokerkit.cli.nats_log import ServerLog
from brokerkit.cli.nats_reload import Reload, changes, check
from brokerkit.descriptors import raise_limit
from brokerkit.errors import OperatorError
from brokerkit.garbage import settle
from brokerkit.protocols.nats.conf.plan import plan, sources
from brokerkit.protocols.nats.info import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from brokerkit.broker import Broker
    from brokerkit.protocols.nats.conf.server import Server

log = Logger()

GRACE = 10.0  # seconds that stopping may take
FAILED = 1
_NAMES = {
    signal.SIGINT: "interrupt",
    signal.SIGTERM: "terminated",
    signal.SIGQUIT: "quit",
    signal.SIGHUP: "hangup",
    signal.SIGUSR1: "user defined signal 1",
    signal.SIGUSR2: "user defined signal 2",
}


class Program:
    """One server from its start to its end.  ``read`` gives the configuration anew, for a reload."""

    def __init__(self, server: Server, read: Callable[[], Server], reactor: Any) -> None:  # noqa: ANN401  any reactor
        """Put it together; nothing is opened.  Raises ``OperatorError``."""
        self.server = server
        self._read = read
        self._reactor = reactor
        self.log = ServerLog(server)
        found = sources(server, reactor)
        self.broker: Broker = make_broker(plan(server), reactor, found)
        self.broker.name = server.name or self.broker.server_id
        self.broker.reload = self.reload
        self._reload = Reload(self.broker, found[0])
        self._ports_directory = ""
        self._stopping: Deferred[None] | None = None
        self.code = 0

    # -- running ----------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Run until it is told to stop; give the exit code."""
        globalLogBeginner.beginLoggingTo([self.log], redirectStandardIO=False)
        raise_limit()
        self._greet()
        Deferred.fromCoroutine(self._start())
        if not self.code:
            self._reactor.callWhenRunning(self._ready)
            self._reactor.run()
        return self.code

    def _greet(self) -> None:
        """Say who this is, in the lines that nats-server begins with."""
        server, broker = self.server, self.broker
        say = log.info
        say("Starting nats-server")
        say("  Version:  {version} (brokerkit)", version=VERSION)
        say("  Name:     {name}", name=broker.name)
        say("  ID:       {id}", id=broker.server_id)
        if server.digest:
            say("Using configuration file: {file} ({digest})", file=server.source, digest=server.digest)
        for warning in server.warnings:
            log.warn("{warning}", warning=warning)

    async def _start(self) -> None:
        try:
            await self.broker.start()
            self._write_files()
        except OperatorError as error:
            log.critical("{error}", error=error)
            self.code = FAILED
            await self.broker.stop()

    def _write_files(self) -> None:
        server = self.server
        if server.pid_file:
            nats_ports.write_pid(server.pid_file)
        if server.ports_file_dir != self._ports_directory:
            nats_ports.remove_ports(self._ports_directory) if self._ports_directory else None
            self._ports_directory = ""
        if server.ports_file_dir:
            try:
                nats_ports.write_ports(server.ports_file_dir, self.broker)
                self._ports_directory = server.ports_file_dir
            except OperatorError as error:  # nats-server starts without it, too
                log.error("{error}", error=error)

    def _ready(self) -> None:
        """Take signals from now on, and say where clients find it."""
        for number in _NAMES:
            signal.signal(number, self._trapped)
        for line in listening(self.broker):
            log.info("{line}", line=line)
        log.info("Server is ready")
        settle()
        gc.enable()

    # -- signals ----------------------------------------------------------------------------------------------------

    def _trapped(self, number: int, _: FrameType | None) -> None:
        self._reactor.callFromThread(self.signalled, number)

    def signalled(self, number: int) -> None:
        """Do what a signal asks for."""
        log.info('Trapped "{name}" signal', name=_NAMES[signal.Signals(number)])
        if number == signal.SIGHUP:
            self._reload_or_say_why()
        elif number == signal.SIGUSR1:
            self._reopen()
        elif number == signal.SIGUSR2:
            self.go_slowly()
        else:
            self.stop()

    def _reopen(self) -> None:
        if not self.log.to_file:
            log.info("File log re-open ignored, not a file logger")
            return
        try:
            self.log.reopen()
        except OperatorError as error:
            log.error("{error}", error=error)
        else:
            log.info("File log re-opened")

    def _reload_or_say_why(self) -> None:
        try:
            self.reload()
        except OperatorError as error:
            log.error("Failed to reload server configuration: {error}", error=error)

    def reload(self) -> None:
        """Read the configuration anew, and take it; raise ``OperatorError``, and go on as before, if it cannot be."""
        if not self.server.digest:
            raise OperatorError("can only reload config when a file is provided using -c or --config")
        new = self._read()
        check(self.server, new)
        self.log.become(new)
        try:
            self._reload.apply(new)
        except OperatorError:
            self.log.become(self.server)
            raise
        changed = changes(self.server, new)
        self.server = new
        self._write_files()
        for warning in new.warnings:
            log.warn("{warning}", warning=warning)
        for name in changed:
            log.info("Reloaded: {name}", name=name)
        log.info("Reloaded server configuration ({digest})", digest=new.digest)

    def go_slowly(self) -> None:
        """Close the connections little by little, then stop."""
        log.info("Entering lame duck mode, stop accepting new clients")
        self.broker.lame_duck().addBoth(lambda _: self.stop())

    def stop(self) -> None:
        """Close everything, and end; asked for again, it is at it already."""
        if self._stopping is not None:
            return
        log.info("Initiating Shutdown...")
        self._stopping = Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        alarm = self._reactor.callLater(GRACE, self._end)
        try:
            await self.broker.stop()
        except Exception:
            log.failure("something could not be stopped in good order")
        if alarm.active():
            alarm.cancel()
            self._end()

    def _end(self) -> None:
        if self._ports_directory:
            nats_ports.remove_ports(self._ports_directory)
        log.info("Server Exiting..")
        if self._reactor.running:
            self._reactor.stop()


def listening(broker: Broker) -> list[str]:
    """Give the lines that say where it listens: the pages of monitoring first, clients last."""
    words = {
        "nats-monitor": "Starting {scheme} monitor on {address}",
        "nats-websocket": "Listening for websocket clients on {scheme}://{address}",
        "nats": "Listening for client connections on {address}",
    }
    found: list[str] = []
    for protocol, text in words.items():
        for service in broker.services:
            here = getattr(service, "protocol", "nats-monitor" if hasattr(service, "base_path") else "")
            if here == protocol:
                secure = bool(getattr(service, "is_tls", False) or getattr(service, "secure", False))
                found.append(text.format(scheme=nats_ports.scheme(protocol, secure=secure), address=service.address))
                if protocol == "nats" and secure:
                    found.append("TLS required for client connections")
    return found


def serve(server: Server, read: Callable[[], Server]) -> int:
    """Run a server until it is told to stop; give the exit code.  Raises ``OperatorError`` before that."""
    from twisted.internet import reactor

    return Program(server, read, reactor).run()
