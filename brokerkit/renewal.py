"""Certificates that renew themselves: the files are looked at once a second, and the next handshake has what they hold.

Connections that are open keep what they began with.  A file that cannot be used changes nothing: it may be half
written, for key and certificate are never replaced in one step.  That is said in the log once, counted, and tried again
every few seconds, until it is mended.

Files are looked at by ``stat``, which follows symbolic links, so what certbot and Kubernetes do is seen too.  Listeners
with the same files share one look at them.
"""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twisted.application.service import Service
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from brokerkit.checkers.watched import signature
from brokerkit.pem import Pair, Unfit, by_name, context, read_directory, read_pair
from brokerkit.tls import authorities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from twisted.internet.interfaces import IReactorTime

    from brokerkit.tls import Clients

    Seen = tuple[tuple[str, tuple[int, ...]], ...]

log = Logger()

INTERVAL = 1.0  # seconds
DAY = 24 * 60 * 60.0  # seconds
WARNINGS = (14, 7, 3, 1, 0)  # days before the end at which it is said
MAX_SIZE = 1024 * 1024  # bytes of one file
MAX_FILES = 200  # in one directory
PATIENCE = 3  # looks at files that could not be used, and have not changed since, before they are read again

T = TypeVar("T")


class Kept(Generic[T]):
    """What some files held when they last could be used.

    ``reloads`` and ``failures`` count the changes that were taken and that were not; ``broken`` says that ``value`` is
    older than the files.
    """

    def __init__(
        self, name: str, files: Callable[[], Iterable[str]], parse: Callable[[Mapping[str, bytes]], T]
    ) -> None:
        """Read the files, which are called ``name`` in the log; raise ``Unfit`` if they cannot be used."""
        self.name = name
        self.reloads = 0
        self.failures = 0
        self.broken = False
        self._files = files
        self._parse = parse
        self._complaint = ""
        self._tried: Seen | None = None
        self._patience = 0
        # Older than the content: what is written meanwhile is seen at the next look.
        self._seen = self._signatures()
        self.value = self._read()

    def look(self, check: Callable[[T, T], None]) -> bool:
        """Read the files again if they have changed; say whether there is a new value.

        ``check`` may refuse it, by ``Unfit``; it is called with the old one and the new one.
        """
        try:
            seen = self._signatures()
            if not self._due(seen):
                return False
            value = self._read()
            check(self.value, value)
        except Unfit as problem:
            self._keep(str(problem))
            return False
        except Exception:  # whatever it is, it is tried again
            if not self.broken:
                log.failure("{name}: not read again because of a bug", name=self.name)
            self.broken = True
            return False
        self._seen, self.value, self._tried = seen, value, None
        self.broken, self._complaint = False, ""
        self.reloads += 1
        return True

    def _due(self, seen: Seen) -> bool:
        """Say whether the files are to be read: they have changed, or what was wrong may be right by now."""
        if not self.broken and seen == self._seen:
            return False
        if seen == self._tried and self._patience > 0:
            self._patience -= 1
            return False
        self._tried, self._patience = seen, PATIENCE
        return True

    def _keep(self, complaint: str) -> None:
        self.broken = True
        if complaint != self._complaint:
            self._complaint = complaint
            self.failures += 1
            log.error("{name}: what was read before stays in use: {why}", name=self.name, why=complaint)

    def _signatures(self) -> Seen:
        try:
            return tuple((path, signature(os.stat(path))) for path in self._files())  # noqa: PTH116  as in _content
        except (OSError, ValueError) as error:
            raise _unreadable(error, self.name) from None

    def _read(self) -> T:
        return self._parse({path: _content(path) for path in self._files()})


@implementer(IOpenSSLServerConnectionCreator)
class Served:
    """What one listener shows its clients, and asks of them: the server's side of each new connection."""

    def __init__(self, pairs: Kept[tuple[Pair, ...]], asked: Kept[Any] | None, *, required: bool) -> None:
        """Serve what is kept; ``asked`` are the authorities of clients, ``None`` to ask for no certificates."""
        self.pairs = pairs
        self.asked = asked
        self._required = required
        self._context: Any = None
        self.renew()

    def renew(self) -> None:
        """Serve what is kept now.  It is a new context, so nobody resumes a session by what was right before."""
        pairs, asking = self.pairs.value, self._asking()
        if len(pairs) > 1:
            contexts = {id(pair): context(pair, **asking) for pair in pairs}
            names = {name: contexts[id(pair)] for name, pair in by_name(pairs).items() if name}
            asking["contextForServerName"] = lambda name: _find(names, name)
        self._context = context(pairs[0], **asking)

    def _asking(self) -> dict[str, Any]:
        """Give the options that have OpenSSL ask for certificates, and hang up on those that it finds wrong."""
        if self.asked is None:
            return {}
        return {"verify": True, "caCerts": list(self.asked.value), "requireCertificate": self._required}

    def serverConnectionForTLS(self, protocol: Any) -> Any:  # noqa: ANN401, ARG002  as Twisted has it
        """Give OpenSSL's side of a connection."""
        from OpenSSL.SSL import Connection

        return Connection(self._context, None)


class Renewal(Service):
    """All that is served by TLS, and the one look at the files of it."""

    def __init__(self, clock: IReactorTime) -> None:
        """Look by that clock, whose seconds are those since 1970; nothing is looked at before the start."""
        self._clock = clock
        self._pairs: dict[tuple[str | None, ...], Kept[tuple[Pair, ...]]] = {}
        self._authorities: dict[str, Kept[Any]] = {}
        self._served: list[Served] = []
        self._warned: dict[Kept[tuple[Pair, ...]], int] = {}
        self._looking = LoopingCall(self.look)
        self._looking.clock = clock

    @property
    def kept(self) -> list[Kept[Any]]:
        """What is looked at."""
        return [*self._pairs.values(), *self._authorities.values()]

    def pair(self, key: str, cert: str, chain: str | None, clients: Clients | None) -> Served:
        """Serve a key and a certificate; raise ``Unfit`` if they cannot be used."""
        key, cert, chain = _absolute(key), _absolute(cert), _absolute(chain) if chain else None
        files = list(filter(None, (cert, key, chain)))
        pairs = self._pairs.get((key, cert, chain))
        if pairs is None:
            pairs = Kept(cert, lambda: files, lambda found: read_pair(found, key, cert, chain))
            self._pairs[key, cert, chain] = pairs
        return self._serve(pairs, clients)

    def directory(self, path: str, clients: Clients | None) -> Served:
        """Serve the pairs in a directory, by the name that a client asks for; raise ``Unfit`` if there is none.

        Who asks for no name, or for one that is not there, gets the pair of the first file.
        """
        path = _absolute(path)
        pairs = self._pairs.get((path,))
        if pairs is None:
            pairs = Kept(path, lambda: _pem_files(path), lambda found: read_directory(found, path))
            self._pairs[path,] = pairs
        return self._serve(pairs, clients)

    def _serve(self, pairs: Kept[tuple[Pair, ...]], clients: Clients | None) -> Served:
        asked = self._asked(clients.path) if clients is not None else None
        served = Served(pairs, asked, required=clients is not None and clients.required)
        self._served.append(served)
        if self.running:
            self._begin()
        return served

    def _asked(self, path: str) -> Kept[Any]:
        path = _absolute(path)
        if path not in self._authorities:
            self._authorities[path] = Kept(path, lambda: (path,), lambda found: authorities(found[path], path))
        return self._authorities[path]

    def startService(self) -> None:
        """Begin to look, if there is anything to look at."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._served:
            self._begin()

    def _begin(self) -> None:
        if not self._looking.running:
            self._looking.start(INTERVAL)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looking.running:
            self._looking.stop()

    def look(self) -> None:
        """Take what has changed, and say what ends soon."""
        moment = self._clock.seconds()
        renewed: set[Kept[Any]] = {one for one in self._pairs.values() if one.look(_better_at(moment))}
        for pairs in self._pairs.values():
            self._tell(pairs, moment, renewed=pairs in renewed)
        for asked in self._authorities.values():
            if asked.look(_anything):
                renewed.add(asked)
                log.info("{name}: read again: clients are held against it from now on", name=asked.name)
        for served in self._served:
            if renewed & {served.pairs, served.asked}:
                self._renew(served)

    def _renew(self, served: Served) -> None:
        try:
            served.renew()
        except Exception:  # all of it has been tried, so this is ours; the others are not to suffer
            served.pairs.broken = True
            log.failure("{name}: not used because of a bug", name=served.pairs.name)

    def _tell(self, pairs: Kept[tuple[Pair, ...]], moment: float, *, renewed: bool) -> None:
        """Say what was renewed; and what ends, once for each of ``WARNINGS``."""
        end = min(pair.ends for pair in pairs.value)
        if renewed:
            self._warned.pop(pairs, None)
            log.info("{name}: certificate renewed, valid until {end}", name=pairs.name, end=_date(end))
        passed = sum(_days(pairs.value, moment) <= limit for limit in WARNINGS)
        if passed > self._warned.get(pairs, 0):
            self._warned[pairs] = passed
            _warn(pairs.name, end, moment)

    def days(self) -> dict[str, float]:
        """Give the days that the certificate of each file is still valid, below 0 if it is not.

        Of several in a directory it is the one that ends first.
        """
        moment = self._clock.seconds()
        return {one.name: _days(one.value, moment) for one in self._pairs.values()}


def _days(pairs: Iterable[Pair], moment: float) -> float:
    """Give the days until the first of these certificates ends."""
    return (min(pair.ends for pair in pairs) - moment) / DAY


def _warn(name: str, end: float, moment: float) -> None:
    if end <= moment:
        log.error("{name}: the certificate has expired on {end}: replace it", name=name, end=_date(end))
        return
    text = "{name}: the certificate expires in {days} days, on {end}: replace it"
    log.warn(text, name=name, days=f"{(end - moment) / DAY:.1f}", end=_date(end))


def _date(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"


def _better_at(moment: float) -> Callable[[tuple[Pair, ...], tuple[Pair, ...]], None]:
    """Give what refuses a certificate that is not valid now in the place of one that is."""

    def check(old: tuple[Pair, ...], new: tuple[Pair, ...]) -> None:
        valid = {name for name, pair in by_name(old).items() if pair.valid(moment)}
        for name, pair in by_name(new).items():
            if name in valid and not pair.valid(moment):
                found = f"it is valid from {_date(pair.begins)} to {_date(pair.ends)}"
                raise Unfit("a certificate that is valid now", found)

    return check


def _anything(_old: object, _new: object) -> None:
    """Refuse nothing."""


def _find(contexts: Mapping[str, Any], name: bytes | None) -> Any:  # noqa: ANN401  a context
    """Give the context for the name that a client asks for; ``None`` leaves it at the default."""
    text = (name or b"").decode("ascii", errors="replace").lower()
    return contexts.get(text) or contexts.get("*." + text.partition(".")[2])


# -- files --------------------------------------------------------------------------------------------------------


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100  resolve would follow today's links


def _pem_files(directory: str) -> list[str]:
    """Give the ``*.pem`` in a directory and below; hidden is where Kubernetes keeps what the links lead to."""
    found: list[str] = []
    for place, inner, names in os.walk(directory, onerror=_raise):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        found += [os.path.join(place, name) for name in sorted(names) if _is_pem(name)]  # noqa: PTH118
        if len(found) > MAX_FILES:
            raise Unfit(f"at most {MAX_FILES} *.pem files", f"{directory}: there are more")
    return found


def _is_pem(name: str) -> bool:
    return name.endswith(".pem") and not name.startswith(".")


def _raise(error: OSError) -> None:
    raise error


def _content(path: str) -> bytes:
    """Give what is in a file; raise ``Unfit`` if it cannot be read, is no file, or is much too large."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Unfit("a regular file", f"{path} is none")
            content = file.read(MAX_SIZE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(error, path) from None
    if len(content) > MAX_SIZE:
        raise Unfit(f"a file of at most {MAX_SIZE} bytes", f"{path} is larger")
    return content


def _unreadable(error: OSError | ValueError, path: str) -> Unfit:
    name = getattr(error, "filename", None) or path
    return Unfit("a file that can be read", f"{name}: {getattr(error, 'strerror', None) or error}")


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a named pipe at its place would otherwise stop the whole broker until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)
