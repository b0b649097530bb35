"""The tree of pages: a path, what it asks for, and the document that is made of it.

A document is written as it is made, in steps, and no faster than its reader takes it: a page of ten thousand
connections neither stops the broker nor waits in its memory.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Cooperator
from twisted.logger import Logger
from twisted.web.http import BAD_REQUEST, NOT_FOUND, OK
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from brokerkit import __version__
from brokerkit.protocols.nats.monitor import asked
from brokerkit.protocols.nats.monitor.accounts import NoAccount, accountz, statz
from brokerkit.protocols.nats.monitor.connz import connz
from brokerkit.protocols.nats.monitor.document import whole
from brokerkit.protocols.nats.monitor.health import healthz
from brokerkit.protocols.nats.monitor.links import gatewayz, jsz, leafz, routez
from brokerkit.protocols.nats.monitor.subsz import subsz
from brokerkit.protocols.nats.monitor.varz import varz

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from twisted.internet.task import CooperativeTask
    from twisted.web.server import Request

    from brokerkit.protocols.nats.monitor.view import View

    Answer = tuple[int, Iterator[bytes]]
    Make = Callable[[View, Mapping[str, str]], Answer]

log = Logger()

JSON, TEXT, HTML = "application/json", "text/plain; charset=utf-8", "text/html; charset=utf-8"
TITLES = {
    "varz": "General",
    "connz": "Connections",
    "accountz": "Accounts",
    "accstatz": "Sums of accounts",
    "subsz": "Subscriptions",
    "routez": "Routes",
    "leafz": "Leaf nodes",
    "gatewayz": "Gateways",
    "jsz": "JetStream",
    "healthz": "Health",
}


def _plain(make: Callable[[View], dict[str, Any]]) -> Make:
    return lambda view, _: (OK, whole(make(view)))


def _health(view: View, _: Mapping[str, str]) -> Answer:
    code, document = healthz(view)
    return code, whole(document)


def _accounts(view: View, query: Mapping[str, str]) -> Answer:
    return OK, whole(accountz(view, asked.Accounts(query.get("acc", ""))))


def _statistics(view: View, query: Mapping[str, str]) -> Answer:
    unused = asked.truth("unused", query.get("unused") or "0")
    return OK, whole(statz(view, asked.Statistics(unused=unused)))


PAGES: dict[str, Make] = {
    "varz": _plain(varz),
    "connz": lambda view, query: (OK, connz(view, asked.connections(query))),
    "subsz": lambda view, query: (OK, subsz(view, asked.subscribed(query))),
    "subscriptionsz": lambda view, query: (OK, subsz(view, asked.subscribed(query))),
    "routez": _plain(routez),
    "gatewayz": _plain(gatewayz),
    "leafz": _plain(leafz),
    "accountz": _accounts,
    "accstatz": _statistics,
    "jsz": _plain(jsz),
    "healthz": _health,
}


def tree(view: View, base_path: str, reactor: Any) -> Resource:  # noqa: ANN401  any reactor
    """Give the root of the site, whose pages lie below ``base_path``."""
    cooperator = Cooperator(scheduler=lambda work: reactor.callLater(0, work))
    pages: Resource = Index(view)
    for name, make in PAGES.items():
        pages.putChild(name.encode(), Page(view, name, make, cooperator))
    root: Resource = Nothing()  # type: ignore[no-untyped-call]
    if not base_path:
        return pages
    at: Resource = root
    *above, last = base_path.strip("/").split("/")
    for step in above:
        below = Nothing()  # type: ignore[no-untyped-call]
        at.putChild(step.encode(), below)
        at = below
    at.putChild(last.encode(), pages)
    return root


def _send(request: Request, code: int, kind: str, body: bytes) -> bytes:
    request.setResponseCode(code)
    request.setHeader(b"content-type", kind.encode())
    return body


class Nothing(Resource):
    """A path where nothing is; a method other than GET and HEAD is nothing either, as in nats-server."""

    def getChild(self, path: bytes, request: Request) -> Resource:  # noqa: ARG002
        """Give nothing."""
        return Nothing()  # type: ignore[no-untyped-call]

    def render(self, request: Request) -> Any:  # noqa: ANN401  bytes, or NOT_DONE_YET
        """Say 404, unless there is something to show."""
        if request.method not in (b"GET", b"HEAD") or not self.found(request):
            return _send(request, NOT_FOUND, TEXT, b"404 page not found\n")
        return self.show(request)

    def found(self, request: Request) -> bool:  # noqa: ARG002
        """Say whether there is something."""
        return False

    def show(self, request: Request) -> Any:  # noqa: ANN401  bytes, or NOT_DONE_YET
        """Show it."""
        raise NotImplementedError


class Index(Nothing):
    """The page with links to the others."""

    def __init__(self, view: View) -> None:
        """Link to the pages beside it."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._view = view

    def getChild(self, path: bytes, request: Request) -> Resource:
        """Give itself for the path with a slash at its end."""
        return self if not path and not request.postpath else super().getChild(path, request)

    def found(self, request: Request) -> bool:  # noqa: ARG002
        """Say that there is something."""
        return True

    def show(self, request: Request) -> bytes:
        """Give the links, which work with and without a slash at the end of the path."""
        self._view.pages["/"] = self._view.pages.get("/", 0) + 1
        here = request.path.decode(errors="replace").rstrip("/")
        name = escape(self._view.server_name)
        links = "\n".join(f'<li><a href="{escape(here)}/{page}">{title}</a></li>' for page, title in TITLES.items())
        head = f"<!DOCTYPE html>\n<title>{name}</title>\n<h1>{name}</h1>\n<p>brokerkit {__version__}</p>\n"
        return _send(request, OK, HTML, f"{head}<ul>\n{links}\n</ul>\n".encode())


class Page(Nothing):
    """One document."""

    isLeaf = True  # noqa: N815  twisted.web's name

    def __init__(self, view: View, name: str, make: Make, cooperator: Cooperator) -> None:
        """Show what ``make`` gives."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._view = view
        self._path = f"/{name}"
        self._make = make
        self._cooperator = cooperator

    def found(self, request: Request) -> bool:
        """Say whether the path ends here."""
        return not any(request.postpath or ())

    def show(self, request: Request) -> Any:  # noqa: ANN401  bytes, or NOT_DONE_YET
        """Begin to write, or say in one line what cannot be meant."""
        self._view.pages[self._path] = self._view.pages.get(self._path, 0) + 1
        try:
            code, pieces = self._make(self._view, _query(request))
        except (asked.NotAsked, NoAccount) as error:
            return _send(request, BAD_REQUEST, TEXT, str(error).encode())
        request.setHeader(b"access-control-allow-origin", b"*")
        _send(request, code, JSON, b"")
        if request.method == b"HEAD":
            return b""
        Writing(request, self._cooperator.cooperate(_write(request, pieces)))
        return NOT_DONE_YET


def _query(request: Request) -> dict[str, str]:
    """Give the query: of a key that stands there twice, what is said first."""
    arguments: dict[bytes, list[bytes]] = request.args
    return {key.decode(errors="replace"): values[0].decode(errors="replace") for key, values in arguments.items()}


def _write(request: Request, pieces: Iterator[bytes]) -> Iterator[None]:
    for piece in pieces:
        if piece:
            request.write(piece)
        yield


@implementer(IPushProducer)
class Writing:
    """A document that is being written; it waits while its reader does not take it, and ends with its reader."""

    def __init__(self, request: Request, task: CooperativeTask[Iterator[None]]) -> None:
        """Write until that task is done."""
        self._request = request
        self._task = task
        self._waiting = False
        self._gone = False
        request.notifyFinish().addErrback(self._left)
        request.registerProducer(self, True)
        task.whenDone().addCallbacks(self._written, self._failed)

    def pauseProducing(self) -> None:
        """Wait."""
        if not (self._waiting or self._gone):
            self._waiting = True
            self._task.pause()

    def resumeProducing(self) -> None:
        """Go on."""
        if self._waiting and not self._gone:
            self._waiting = False
            self._task.resume()

    def stopProducing(self) -> None:
        """Do nothing: that the reader is gone is said by ``notifyFinish``."""

    def _left(self, _: object) -> None:
        if not self._gone:
            self._gone = True
            self._task.stop()

    def _written(self, _: object) -> None:
        if not self._gone:
            self._gone = True
            self._request.unregisterProducer()
            self._request.finish()

    def _failed(self, failure: Any) -> None:  # noqa: ANN401  a Failure
        """Hang up on what could not be written to its end: half a document is no document."""
        if not self._gone:
            self._gone = True
            log.failure("a page of monitoring failed", failure)
            self._request.unregisterProducer()
            transport: Any = self._request.transport
            transport.abortConnection()
