"""One bpbroker listener: the HTTPS API, discovery at the same port number, and what belongs to them, put together."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import MultiService, Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger

from brokerkit.endpoints import names_no_files, said, server_endpoint, with_files
from brokerkit.entrance import read_networks
from brokerkit.errors import ConfigError, OperatorError
from brokerkit.protocols.bpbroker import certificate, mdns, signed
from brokerkit.protocols.bpbroker import document as doc
from brokerkit.protocols.bpbroker.digests import Digests
from brokerkit.protocols.bpbroker.discovery import Discovery, Rate
from brokerkit.protocols.bpbroker.door import Door
from brokerkit.protocols.bpbroker.extension_data import ExtensionData
from brokerkit.protocols.bpbroker.extensions import ChildExtensions, ExtensionBounds
from brokerkit.protocols.bpbroker.keys_file import KeysFile
from brokerkit.protocols.bpbroker.legacy import Legacy
from brokerkit.protocols.bpbroker.places import neighbourhood
from brokerkit.protocols.bpbroker.settings import Settings
from brokerkit.protocols.bpbroker.udp import Listening
from brokerkit.protocols.bpbroker.v1 import Api
from brokerkit.protocols.bpbroker.view import View
from brokerkit.registry.health import NETWORKS, Health
from brokerkit.tls import clients
from brokerkit.web import Bounds, HttpListener, Problem, Site

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.broker import Broker
    from brokerkit.config import Listen
    from brokerkit.registry import Registry
    from brokerkit.tls import Clients
    from brokerkit.web import Asked, Route

log = Logger()

SECURE = ("tls", "ssl")
NAME = 48  # characters of the broker's name that others are told


class Bpbroker(MultiService):
    """Listens as a ``Listen`` says; a child of the broker, as are the registry and its health checks."""

    def __init__(self, broker: Broker, listen: Listen) -> None:
        """Put it together; nothing is opened before the service starts.  Raises ``OperatorError``."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.broker = broker
        self.protocol = listen.protocol
        self.listen = listen
        given = listen.settings if listen.settings is not None else Settings()
        _refuse_unheeded(listen)
        document = doc.of(given)
        self.settings: Settings = doc.settings(document, given.config or listen.protocol, given)
        tenant = _claimed(broker, listen)
        self.registry: Registry = broker.registry
        self._configure_registry()
        self._served = _Recorder(broker)
        endpoint = self._endpoint()
        self._keys = _keys(broker, given.config)
        self.view = self._view() if given.config else None
        self.extensions = self._extensions(document)
        self.door = Door(broker, query_keys=self.settings.allow_query_key, protocol=listen.protocol, tenant=tenant)
        self.legacy = Legacy(
            self.registry,
            self.door,
            self.extensions,
            get_writes=self.settings.legacy_get_writes,
            query_keys=self.settings.allow_query_key,
            guards_ping=self._guards_ping,
        )
        self.api = Api(self.registry, self.door.lend, broker.reactor)  # type: ignore[arg-type]  # what it needs of a client
        self.site = Site(
            [self._gated(route) for route in self.api.routes()],
            broker.reactor,
            protocol=listen.protocol,
            bounds=Bounds(
                connections=self.settings.max_connections, connections_each=self.settings.max_connections_per_address
            ),
            networks=read_networks(said(listen.endpoint, self.protocol).networks or listen.networks, self.protocol),
            otherwise=self._gate(self.legacy.answer),
        )
        self.http = HttpListener(self.site, endpoint, listen.endpoint)
        self.http.setServiceParent(self)
        self.discovery: Discovery | None = None
        self.digests: Digests | None = None
        if self.settings.discovery and listen.endpoint.partition(":")[0] != "unix":
            self.discovery = self._discovery(self.settings)
            Listening(self.discovery, self._where, broker.reactor).setServiceParent(self)  # type: ignore[no-untyped-call]
        if self.settings.mdns:
            self._advertise()
        _Telling(self).setServiceParent(self)  # type: ignore[no-untyped-call]

    @property
    def address(self) -> str:
        """Where it listens, as ``host:port``; empty while it does not."""
        return self.http.address

    @property
    def answers(self) -> Counter[int]:
        """The number of answers by HTTP, by status; the metrics read it."""
        return self.site.served

    @property
    def datagrams(self) -> Counter[str]:
        """The number of datagrams, by what became of them, in a fixed few words."""
        return self.discovery.counts if self.discovery is not None else Counter()

    @property
    def extension_calls(self) -> Counter[str]:
        """The number of calls of extensions: those begun, and what became of those that did not end well."""
        found = self.extensions
        words = {"begun": found.calls, "failed": found.failures, "timeout": found.overdue, "refused": found.turned_away}
        return Counter(words)

    @property
    def extension_processes(self) -> Counter[str]:
        """The number of processes of extensions that were started, and of those that had to be replaced."""
        return Counter({"started": self.extensions.started, "replaced": self.extensions.replaced})

    @property
    def file_writes(self) -> Counter[str]:
        """The number of times that ``bpbroker.json`` was written, and could not be."""
        view = self.view
        return Counter({"done": view.writes, "failed": view.failures}) if view is not None else Counter()

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate that is served, in hex without colons; empty without TLS."""
        found = self._served.certificate
        return "" if found is None else certificate.fingerprint(found).replace(":", "").lower()

    @property
    def certificate(self) -> Any:  # noqa: ANN401  a certificate of cryptography's
        """The certificate that is served; ``None`` without TLS."""
        return self._served.certificate

    @property
    def _name(self) -> str:
        """What the broker calls itself, where there is little room."""
        return str(self.broker.name)[:NAME]

    def _where(self) -> tuple[str, int]:
        """Give the host and the port of the API, once it listens."""
        if self.http.port is None:
            raise OperatorError(f"{self.protocol}: the API does not listen")
        address: Any = self.http.port.getHost()
        return address.host, address.port

    # -- parts --------------------------------------------------------------------------------------------------------

    def _configure_registry(self) -> None:
        """Tell the registry, and have its health checks made, if no other listener has."""
        settings, registry = self.settings, self.registry
        registry.backup_every = settings.backup_freq_secs or 0.0
        registry.backup_keep = settings.backup_retain_n or 0
        if registry.health is None and settings.healthcheck_freq_sec:
            networks = read_networks(settings.healthcheck_networks, self.protocol) or NETWORKS
            health = Health(registry, self.broker.reactor, networks, settings.healthcheck_freq_sec)
            health.setServiceParent(self.broker)  # type: ignore[no-untyped-call]

    def _endpoint(self) -> Any:  # noqa: ANN401  an endpoint
        """Give what the API listens at: by TLS, with a certificate of this install's own unless another is named."""
        text, asked = self.listen.endpoint, clients(self.listen)
        if text.partition(":")[0] not in SECURE and not self.settings.plain:
            expected = "tls: in the place of the endpoint's first word"
            hint = "plain = true allows it, behind a proxy that speaks TLS"
            raise ConfigError(self.protocol, "endpoint", text, expected, hint)
        if names_no_files(text):
            directory = self.broker.directory
            if directory is None:
                hint = "or name them in the endpoint, tls:port=20443:key=FILE:cert=FILE"
                raise ConfigError(self.protocol, "data_dir", None, "a directory for key and certificate", hint)
            certificate.provide(directory, self.settings.certificate_names, self.broker.reactor.seconds())
            text = with_files(text, *map(str, certificate.paths(directory)))
            renewing = certificate.Renewing(directory, self.settings.certificate_names, self.broker.reactor)
            renewing.setServiceParent(self)  # type: ignore[no-untyped-call]
        return server_endpoint(text, self.broker.reactor, self.protocol, asked, self._served)  # type: ignore[arg-type]

    def _view(self) -> View:
        """Give what keeps the file, of that alone; it is no child, since it is to be stopped last."""
        settings = self.settings
        document = doc.layers([settings.config])
        return View(
            self.registry,
            settings.config,
            document,
            self.broker.reactor,
            every=settings.backup_freq_secs or 0.0,
            keep=settings.backup_retain_n or 0,
            wrote=self._keys.wrote if self._keys is not None else None,
        )

    def _guards_ping(self) -> bool:
        return self._keys is not None and self._keys.guards("ping")

    def _extensions(self, document: doc.Document) -> ChildExtensions:
        modules: dict[str, Any] = {name: {} for name in self.settings.extensions}
        modules |= doc.extensions(document)
        bounds = ExtensionBounds(
            timeout=self.settings.extension_time, concurrency=max(1, self.settings.extension_concurrency)
        )
        data = ExtensionData(self.registry, document)
        found = ChildExtensions(self.broker.reactor, Path(self.settings.library), modules, data, bounds)
        found.setServiceParent(self)  # type: ignore[no-untyped-call]
        return found

    def _discovery(self, settings: Settings) -> Discovery:
        given = read_networks(settings.discovery_networks, self.protocol)
        key = settings.discovery_key.encode()
        answers = None
        if key:
            self.digests = Digests(self.registry, key, self.broker.reactor)
            answers = signed.Answers(key, self._discoverable, self.digests.find, self._told)
        return Discovery(
            self._discoverable, given or neighbourhood(), Rate(self.broker.reactor, settings.discovery_rate), answers
        )

    def _discoverable(self, name: str) -> bool:
        return (self.view is None or self.view.ready) and self.registry.discoverable(name)

    def _told(self) -> signed.Told:
        return signed.Told(self._name, self._where()[1], self.fingerprint, self.registry.revision)

    def _advertise(self) -> None:
        library = mdns.find_library(self.protocol)

        def told() -> tuple[str, int, str]:
            return (*self._where(), self.fingerprint)

        mdns.Advertising(library, self._name, told, self.broker.reactor).setServiceParent(self)  # type: ignore[no-untyped-call]

    # -- waiting until the file is taken over -------------------------------------------------------------------------

    def _gated(self, route: Route) -> Route:
        return attrs.evolve(route, call=self._gate(route.call))

    def _gate(self, call: Callable[[Asked], Any]) -> Callable[[Asked], Any]:
        """Give the same call, which waits until the registry is there."""
        view = self.view
        if view is None:
            return call

        async def later(asked: Asked) -> Any:  # noqa: ANN401  an answer
            try:
                await view.when_ready()
            except CancelledError:
                raise Problem(503, "The registry is not there yet", headers={"retry-after": "10"}) from None
            answer = call(asked)
            return answer if not hasattr(answer, "__await__") else await answer

        return lambda asked: call(asked) if view.ready else later(asked)

    # -- beginning and end --------------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Take the file over, and begin to listen; raise ``OperatorError``."""
        if self.view is not None:
            self.view.startService()
        super().startService()  # type: ignore[no-untyped-call]

    def stopService(self) -> Deferred[None]:
        """Stop listening, then write the file; done when that is done."""
        self.api.stop()
        if self.digests is not None:
            self.digests.stop()
        return Deferred.fromCoroutine(self._stop(maybeDeferred(super().stopService)))

    async def _stop(self, stopped: Deferred[Any]) -> None:
        try:
            await stopped
        finally:
            if self.view is not None and self.view.running:
                self.view.stopService()


def _keys(broker: Broker, config: str) -> KeysFile | None:
    """Give the source of the access keys in that file, which the plugin has made; ``None`` without a file."""
    path = os.path.abspath(config) if config else ""  # noqa: PTH100  as the source has it
    return next((one for one in broker.checkers if isinstance(one, KeysFile) and one.paths[-1] == path), None)


UNHEEDED = {
    "mode": "nothing: rights say who reads and who writes",
    "topic_prefix": "nothing: registry_prefix, above all tables, says where changes are published",
    "certificate_user": "nothing: a certificate opens the door here, and an access key says who it is",
    "certificate_pattern": "nothing: a certificate opens the door here, and an access key says who it is",
    "no_auth_user": 'nothing: auth = ["anonymous:..."] says what may be done without a key',
}  # keys of all listeners that this one has no use for, and what is to be done instead


def _claimed(broker: Broker, listen: Listen) -> str:
    """Give the tenant of a listener, whose the registry is: there is one, and nobody of another tenant sees it."""
    tenant = listen.tenant or ""
    if broker.has_registry and broker.registry_tenant != tenant:
        expected = f"{broker.registry_tenant!r}, as the other listener of the registry has it: there is one registry"
        raise ConfigError(f"[[listen]] of {listen.protocol}", "tenant", tenant, expected)
    broker.registry_tenant = tenant
    return tenant


def _refuse_unheeded(listen: Listen) -> None:
    """Raise ``ConfigError`` for what would be told in vain."""
    usual = attrs.fields_dict(type(listen))
    for key, expected in UNHEEDED.items():
        if (found := getattr(listen, key)) != usual[key].default:
            raise ConfigError(listen.protocol, key, found, expected)
    mode = said(listen.endpoint, listen.protocol).mode
    if mode not in {"", usual["mode"].default}:
        raise ConfigError(listen.protocol, "endpoint", f"mode={mode}", UNHEEDED["mode"])


class _Recorder:
    """Asks the broker's renewal for what is served, and remembers it, for its fingerprint."""

    def __init__(self, broker: Broker) -> None:
        self._renewal = broker.renewal
        self._served: Any = None

    def pair(self, key: str, cert: str, chain: str | None, asked: Clients | None) -> Any:  # noqa: ANN401  what is served
        self._served = self._renewal.pair(key, cert, chain, asked)
        return self._served

    def directory(self, path: str, asked: Clients | None) -> Any:  # noqa: ANN401  what is served
        self._served = self._renewal.directory(path, asked)
        return self._served

    @property
    def certificate(self) -> Any:  # noqa: ANN401  a certificate of cryptography's, or None without TLS
        return None if self._served is None else self._served.pairs.value[0].certificate


class _Telling(Service):
    """Says how to recognise the broker, when it listens."""

    def __init__(self, listener: Bpbroker) -> None:
        self._listener = listener

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        found = self._listener.certificate
        if found is not None:
            log.info(
                "bpbroker certificate SHA-256 {certificate} and of its key, which outlasts it, SHA-256 {key}",
                certificate=certificate.fingerprint(found),
                key=certificate.key_fingerprint(found),
            )
