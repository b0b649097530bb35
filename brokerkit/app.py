"""The whole wiring on one screen: flags and file → configuration → broker → a service that twistd can run."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.application.service import Service as IsService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger
from twisted.plugin import getPlugins
from twisted.python import usage

from brokerkit import compiled
from brokerkit import config as configuration
from brokerkit.broker import Broker
from brokerkit.checkers.listed import ListedUsers
from brokerkit.checkers.plugins import describe, find
from brokerkit.checkers.polled import Polled
from brokerkit.config import Config, Listen
from brokerkit.control import Control
from brokerkit.descriptors import raise_limit
from brokerkit.errors import ConfigError, OperatorError
from brokerkit.garbage import settle
from brokerkit.interfaces import ICheckerPlugin
from brokerkit.metric_styles import OFF
from brokerkit.place import LOG, USERS, say_running, say_stopped
from brokerkit.plugin import protocols
from brokerkit.readiness import say_ready
from brokerkit.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted.application.service import IService

log = Logger()


class StartFailed(SystemExit, Exception):
    """The broker cannot start, and the text says why.

    Being a ``SystemExit`` it ends the process without a traceback; being an ``Exception`` it lets twistd remove its pid
    file, and tell the process that waits for the daemon, on the way.
    """

    def __init__(self, error: OperatorError) -> None:
        """Print the one line; past the log, which twistd may have made of stderr."""
        super().__init__(f"brokerkit: {error}")
        self.code = 1
        if sys.__stderr__ is not None:
            sys.__stderr__.write(f"brokerkit: {error}\n")


def make_sources(
    config: Config,
    reactor: Any,  # noqa: ANN401  any reactor
    installed: Mapping[str, Any] | None = None,
    others: Sequence[Any] = (),
) -> list[Any]:
    """Give the sources of users of a configuration, in the order in which they are asked; raise ``OperatorError``.

    Those that are services are not started.  ``installed`` are the protocols, all if not given: one may bring a source
    of its own, which stands last.  ``others`` are asked before all of them.
    """
    plugins = list(getPlugins(ICheckerPlugin))
    sources = [find(_with_place(text, config), plugins, reactor, config.source) for text in config.auth]
    if config.users:
        sources.insert(0, ListedUsers(config.users, config.source))
    for source in sources:
        if isinstance(source, Polled):
            source.kept = config.login_cache
    installed = protocols() if installed is None else installed
    sources += _of_listeners(config, reactor, installed, alone=not (sources or others))
    _refuse_twice(sources, config)
    return sources


def _of_listeners(config: Config, reactor: Any, plugins: Mapping[str, Any], *, alone: bool) -> list[Any]:  # noqa: ANN401
    """Give the sources that protocols bring, each once; ``alone`` says that there are no others."""
    found: dict[str, Any] = {}
    for listen in config.listen:
        bring = getattr(plugins.get(listen.protocol), "sources", None)
        for source in bring(listen, reactor, alone=alone) if bring is not None else ():
            found.setdefault(source.source, source)
    return list(found.values())


def _refuse_twice(sources: list[Any], config: Config) -> None:
    """Raise ``ConfigError`` if two sources are called the same: users of one would be held against the other."""
    names = [getattr(source, "source", "") for source in sources]
    for index, name in enumerate(names):
        if name and name in names[:index]:
            raise ConfigError(config.source, "auth", name, "each source of users once")


def _refuse_nobody(sources: Sequence[Any], config: Config) -> None:
    """Raise ``ConfigError`` for a ``no_auth_user`` whom nobody can know: all users stand in the configuration."""
    if not all(isinstance(source, ListedUsers) for source in sources):
        return
    for i, listen in enumerate(config.listen):
        name = listen.no_auth_user
        if name and name not in {entry.name for entry in config.users}:
            raise ConfigError(f"{config.source}: listen[{i}]", "no_auth_user", name, "the name of one of the users")


def _with_place(text: str, config: Config) -> str:
    """Say which store is meant by ``users``: the one in the data directory."""
    return f"users:{Path(config.data_dir) / USERS}" if text == "users" and config.data_dir is not None else text


def make_broker(
    config: Config,
    reactor: Any,  # noqa: ANN401  any reactor, also a test's
    checkers: Sequence[Any] = (),
    plugins: Mapping[str, Any] | None = None,
) -> Broker:
    """Build a broker from its configuration; nothing is opened before it starts.

    ``checkers`` are a program's own sources of users, asked before those of the configuration; ``plugins`` are the
    protocols to choose from, all that are installed if not given.  Raises ``OperatorError`` for what cannot work.
    """
    plugins = protocols() if plugins is None else plugins
    checkers = [*checkers, *make_sources(config, reactor, plugins, checkers)]
    if config.listen and not checkers:
        text = f"{config.source}: auth: nobody could log in; say who may, for example with --auth json:users.json"
        raise OperatorError(text)
    _refuse_nobody(checkers, config)
    broker = Broker(reactor, checkers, config.name, login_deadline=config.login_deadline)
    broker.registry_prefix = config.registry_prefix.encode()
    broker.tenants.put_all(config.tenants)
    if config.data_dir is not None:
        broker.directory = Path(config.data_dir)
        Control(broker, Path(config.data_dir)).setServiceParent(broker)  # type: ignore[no-untyped-call]
    if config.keep or (broker.directory is not None and (broker.directory / LOG).exists()):
        broker.keeping.take(config.keep)  # made here, so that it is started before anybody can publish
    for checker in checkers:
        if isinstance(checker, IsService):
            checker.setServiceParent(broker)
    for i, listen in enumerate(config.listen):
        try:
            service = plugins[listen.protocol].service(broker, listen)
        except ConfigError as error:
            where = f"{config.source}: listen[{i}]"
            raise ConfigError(where, error.key, error.found, error.expected, error.hint) from None
        service.setServiceParent(broker)
    if config.exporter is not None:
        from brokerkit.metrics import Exporter  # slow to import, and only needed here

        if config.hpfeeds_metrics != OFF:
            broker.tally = Tally()
        address = configuration.parse_exporter(config.exporter, config.source)
        Exporter(broker, *address, config.hpfeeds_metrics).setServiceParent(broker)
    return broker


class Flags(usage.Options):
    """The flags of ``twistd brokerkit`` that are always there."""

    optParameters = [
        ["config", "c", None, "TOML file; the flags are added to it or replace what it says."],
        ["exporter", None, None, "HOST:PORT for /metrics and /healthz (off unless given)."],
        ["hpfeeds-metrics", None, None, "Names of hpfeeds-broker's metrics: modern, legacy, both or off."],
        ["data-dir", None, None, "Directory for what lasts."],
        ["name", None, None, "The broker's name, as clients see it."],
    ]
    optFlags = [["table", None, "Print what listens where, and commands that try it."]]

    def __init__(self) -> None:
        """Begin with nothing said."""
        self.auth: list[str] = []
        self.listen: list[Listen] = []
        super().__init__()  # type: ignore[no-untyped-call]

    def opt_auth(self, source: str) -> None:
        """Source of users (see --help-auth); may be given again, and is asked in that order."""
        self.auth.append(source)

    def opt_help_auth(self) -> None:
        """Show the sources of users and exit."""
        sys.stdout.write(describe(list(getPlugins(ICheckerPlugin))) + "\n")
        raise SystemExit(0)

    def configuration(self) -> Config:
        """Give the file's configuration with the flags on top."""
        plugins = protocols()
        file = configuration.load(self["config"], plugins) if self["config"] else Config(source="command line")
        return configuration.merge(
            file,
            name=self["name"],
            data_dir=self["data-dir"],
            exporter=self["exporter"],
            hpfeeds_metrics=self["hpfeeds-metrics"],
            auth=tuple(self.auth),
            listen=tuple(self.listen),
        )


def Options() -> Flags:
    """Give the flags, with one for each protocol that is installed."""
    flags = {f"opt_{name}": _listen_flag(name, plugin.description) for name, plugin in protocols().items()}
    options: Flags = type("Options", (Flags,), flags)()
    return options


def _listen_flag(protocol: str, description: str) -> Any:  # noqa: ANN401  what usage.Options calls for a flag
    def opt(flags: Flags, endpoint: str) -> None:
        flags.listen.append(Listen(protocol, endpoint))

    opt.__doc__ = f"Endpoint for {description}; may be given again."
    return opt


class Program(MultiService):
    """The broker as a program: it raises the limits of the process, says when it is ready, and fails with one line."""

    def __init__(self, broker: Broker, config: Config, *, table: bool = False) -> None:
        """Run that broker."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.broker = broker
        self._auth = (*([f"users in {config.source}"] if config.users else []), *config.auth)
        self._directory = Path(config.data_dir) if config.data_dir else None
        self._table = table
        broker.setServiceParent(self)

    def privilegedStartService(self) -> None:
        """Open the ports."""
        raise_limit()
        try:
            super().privilegedStartService()  # type: ignore[no-untyped-call]
        except OperatorError as error:
            self._fail(error)

    def startService(self) -> None:
        """Start the rest."""
        try:
            super().startService()  # type: ignore[no-untyped-call]
        except OperatorError as error:
            self._fail(error)
        if self._directory is not None:
            self._write_down(self._directory)
        self.broker.reactor.callWhenRunning(self._say_ready)  # only from then on a signal stops it in good order

    def _say_ready(self) -> None:
        for problem in compiled.problems:
            log.warn("some of this is pure Python, and slower: {problem}", problem=problem)
        soon = self.broker.reactor.callFromThread
        signal.signal(signal.SIGHUP, lambda *_: soon(self.broker.look_again))
        signal.signal(signal.SIGUSR2, lambda *_: soon(self._go_slowly))
        log.info("brokerkit ready")
        say_ready()
        if self._table:
            from brokerkit.cli.table import show  # rich is slow to import, and only needed here

            show(self.broker, self._directory, self._auth)
        settle()

    def _go_slowly(self) -> None:
        """Close connections little by little, then stop."""
        self.broker.lame_duck().addCallback(self._end)

    def _end(self, _: object) -> None:
        with suppress(ReactorNotRunning):  # a signal to stop has come meanwhile
            self.broker.reactor.stop()

    def _write_down(self, directory: Path) -> None:
        """Leave word for ``brokerkit pub`` and ``sub`` where this broker can be reached."""
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            say_running(directory, {x.protocol: x.address for x in reversed(self.broker.listening)})
        except OSError as error:
            text = f"{directory}: the data directory cannot be written to: {error.strerror}"
            self._fail(OperatorError(text))

    def stopService(self) -> Deferred[None]:
        """Stop everything; done when every connection is closed."""
        if self._directory is not None:
            say_stopped(self._directory)
        return maybeDeferred(super().stopService)

    def _fail(self, error: OperatorError) -> None:
        Deferred.fromCoroutine(self.broker.stop())
        raise StartFailed(error) from None


def reread(broker: Broker, path: str) -> None:
    """Take the ``[[keep]]`` tables that the file of the configuration has now; raise ``OperatorError``, with no change.

    All else in that file counts from the next start on.
    """
    rules = configuration.load(path, protocols()).keep
    if rules or broker.has_log:
        broker.keeping.take(rules)


def makeService(options: Flags) -> IService:
    """Give what twistd runs, from the flags; ends the process with one line if they cannot work."""
    from twisted.internet import reactor

    try:
        config = options.configuration()
        if not config.listen:
            where = f"{config.source}: add a [[listen]] table" if options["config"] else "give --config"
            text = f"nothing to listen for: {where}, or a protocol such as --nats tcp:port=4222"
            raise OperatorError(text)
        broker = make_broker(config, reactor)
        if options["config"]:
            broker.reread = lambda: reread(broker, options["config"])
        return Program(broker, config, table=bool(options["table"]))
    except OperatorError as error:
        raise StartFailed(error) from None
