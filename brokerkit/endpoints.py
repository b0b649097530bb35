"""Endpoint strings, and what the kernel is told about the sockets behind them.

Two grammars meet here: Twisted's (``tcp:4222:interface=127.0.0.1``, ``unix:/run/broker``) and that of the original
hpfeeds broker (``tls:port=10000:key=broker.key:cert=broker.crt``).  Everything is checked before Twisted builds the
endpoint, so that a slip is one line about the slip: a type or a keyword that nobody knows is refused and never guessed,
for a guess could be plain text where TLS was meant.

Three keywords are ours, and taken out before: ``device=`` (a network interface), ``mode=`` and ``networks=`` (which say
what ``brokerkit.entrance`` does).  An IPv6 address may be written with its colons as they are, where it can be nothing
else.
"""

from __future__ import annotations

import errno
import re
import socket
import sys
from contextlib import suppress
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.abstract import isIPv6Address
from twisted.internet.endpoints import (
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    serverFromString,
)

from brokerkit.device import DeviceUnusable, OnDevice, wrong_device
from brokerkit.entrance import BARRED, read_networks
from brokerkit.errors import ConfigError
from brokerkit.pem import Unfit
from brokerkit.renewal import Renewal

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint

    from brokerkit.renewal import Served
    from brokerkit.tls import Clients

ALL = "0.0.0.0"  # noqa: S104  every address: the default of the original hpfeeds broker
MAX_PORT = 0xFFFF
BACKLOG = 50  # connections that the kernel holds until they are accepted; Twisted's default
PRIVILEGED = 1024  # ports below this one need a right

# The keywords of each type, in the order in which their values may stand without them; the first one has to be said.
_KEYWORDS = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "ssl": (
        "port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain", "dhParameters",
    ),
    "tls": ("path", "port", "backlog", "interface"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index", "name"),
}  # fmt: skip
_HPFEEDS_TLS = ("port", "interface", "key", "cert", "chain")
_OURS = ("device", "mode", "networks")
_KEYWORD = re.compile(r"((?:[^\\=]|\\.)*)=(.*)", re.DOTALL)  # as in Twisted, a backslash hides an equals sign
_COLONS = r"a colon inside a value is written \:, as in interface=\:\:1"
_EXAMPLES = {
    "tcp": "for example tcp:port=4222:interface=127.0.0.1",
    "tls": "for example tls:port=10000:key=broker.key:cert=broker.crt",
    "unix": "for example unix:/run/broker.sock",
}
_ADDRESS = re.compile(r"(?:([\w.-]*\.[\w.-]*|localhost|):)?([0-9]+)", re.ASCII)  # what is often written instead

IDLE, PROBES = 10, 3  # seconds, count: with half of these seconds between probes, a lost peer is noticed after 25 s
# The kernel asks for more when less than this is unsent, so when its reader makes progress; otherwise it would take
# megabytes at once, and then nothing for a while, and a slow reader would look like one that has stopped.
UNSENT = 128 * 1024
_NOTSENT_LOWAT = 25 if sys.platform == "linux" else None  # where the socket module does not have the name

# What Linux and macOS let accepted sockets inherit: level, name, number where the name may be missing, value.
_TUNING: tuple[tuple[int, str, int | None, int], ...] = (
    (socket.IPPROTO_TCP, "TCP_NODELAY", None, 1),
    (socket.IPPROTO_TCP, "TCP_NOTSENT_LOWAT", _NOTSENT_LOWAT, UNSENT),
)


def _keeping_alive(idle: int) -> tuple[tuple[int, str, int | None, int], ...]:
    """Give the same for keep-alive after so many seconds of silence."""
    return (
        (socket.SOL_SOCKET, "SO_KEEPALIVE", None, int(idle > 0)),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", None, idle),
        (socket.IPPROTO_TCP, "TCP_KEEPALIVE", None, idle),  # what macOS calls the line above
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", None, max(1, idle // 2)),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", None, PROBES),
    )


@attrs.frozen
class Said:
    """What an endpoint string says beside what Twisted reads: empty where it does not."""

    mode: str = ""
    networks: tuple[str, ...] = ()
    device: str = ""


def said(text: str, where: str) -> Said:
    """Give what ``text`` says in keywords of ours; raise ``ConfigError`` naming ``where``."""
    try:
        return _without_ours(text)[1]
    except _Unusable as problem:
        raise ConfigError(where, "endpoint", text, problem.expected, problem.hint) from None


def is_local(text: str) -> bool:
    """Say whether only this machine reaches an endpoint; if that cannot be seen, then not."""
    try:
        kind, *words = _without_ours(text)[0]
    except _Unusable:
        return False
    if kind not in {"tcp", "tcp6"}:
        return kind == "unix"
    found = [_KEYWORD.fullmatch(word) for word in words]
    values = [_unescaped(word) for word, keyword in zip(words, found, strict=True) if not keyword]
    given = {**dict(zip(_KEYWORDS[kind], values, strict=False)), **{k[1]: _unescaped(k[2]) for k in found if k}}
    try:
        return given["interface"] == "localhost" or ip_address(given["interface"]).is_loopback
    except (KeyError, ValueError):
        return False


@attrs.frozen
class Opening:
    """What an endpoint string describes: the ``whole`` of it, and what lies ``below`` its TLS, if it has TLS.

    ``served`` makes the server's side of TLS, and is ``None`` where there is none.
    """

    whole: IStreamServerEndpoint
    below: IStreamServerEndpoint
    served: Served | None = None


def server_endpoint(
    text: str,
    reactor: Any,  # noqa: ANN401  any reactor
    where: str,
    clients: Clients | None = None,
    renewal: Renewal | None = None,
) -> IStreamServerEndpoint:
    """Give the endpoint that ``text`` describes, as ``opening`` does, with TLS from its first byte if it has TLS."""
    return opening(text, reactor, where, clients, renewal).whole


def opening(
    text: str,
    reactor: Any,  # noqa: ANN401  any reactor
    where: str,
    clients: Clients | None = None,
    renewal: Renewal | None = None,
) -> Opening:
    """Give the endpoint that ``text`` describes; raise ``ConfigError`` naming ``where`` for what is wrong with it.

    With ``clients`` it asks for their certificates, which only TLS can.  Without ``renewal`` the files of TLS are read
    once.
    """
    try:
        return _endpoint(text, reactor, clients, renewal or Renewal(reactor))
    except (_Unusable, Unfit) as problem:
        raise ConfigError(where, "endpoint", text, problem.expected, problem.hint) from None


def names_no_files(text: str) -> bool:
    """Say whether ``text`` is a ``tls:`` endpoint that leaves open which key and certificate it serves."""
    try:
        kind, *words = _without_ours(text)[0]
    except _Unusable:
        return False
    keys = {word.partition("=")[0] for word in words}
    return kind == "tls" and all("=" in word for word in words) and keys.isdisjoint({"key", "cert", "chain", "path"})


def with_files(text: str, key: str, cert: str) -> str:
    """Give a ``tls:`` endpoint with that key and certificate."""
    escaped = [path.replace("\\", "\\\\").replace(":", "\\:") for path in (key, cert)]
    return f"{text}:key={escaped[0]}:cert={escaped[1]}"


def tune(port: IListeningPort, keepalive: int = IDLE) -> None:
    """Set what accepted TCP sockets inherit; what is no TCP socket, or what the system does not know, is left alone.

    ``keepalive`` are the seconds of silence after which the kernel asks whether the peer is there; nought: never.
    """
    listening: socket.socket | None = getattr(port, "socket", None)
    if listening is None or listening.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    for level, name, number, value in (*_TUNING, *_keeping_alive(keepalive)):
        option = getattr(socket, name, number)
        if option is not None:
            with suppress(OSError):
                listening.setsockopt(level, option, value)


def where_bound(port: IListeningPort) -> str:
    """Give the address that a port listens on: ``127.0.0.1:4222``, ``[::1]:4222`` or ``unix:/path``."""
    address: Any = port.getHost()
    if hasattr(address, "host"):
        host = f"[{address.host}]" if ":" in address.host else address.host
        return f"{host}:{address.port}"
    if hasattr(address, "name"):
        return f"unix:{_text(address.name or '')}"
    return str(address)


def explain_bind_failure(error: BaseException | None, text: str) -> str:
    """Give one line that says why nothing listens at the endpoint ``text``, and what can be done."""
    if isinstance(error, DeviceUnusable):
        return f"{error} ({text})"
    cause: Any = getattr(error, "socketError", error)
    place, port, other = _place(error)
    number = getattr(cause, "errno", None)
    if number == errno.EADDRINUSE or cause == "Cannot acquire lock":  # Twisted's words for a unix socket in use
        return f"{place} is in use ({text}): stop the other program or choose another {other}"
    if number == errno.EADDRNOTAVAIL or isinstance(cause, socket.gaierror):
        return f"{place} cannot be listened on ({text}): this machine has no such address, choose another interface"
    if number in {errno.EACCES, errno.EPERM} and 0 < port < PRIVILEGED:
        return (
            f"permission denied for {place} ({text}): "
            f"choose a port from {PRIVILEGED} on, or give the program CAP_NET_BIND_SERVICE"
        )
    why = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause) or type(cause).__name__
    return f"{place} cannot be listened on ({text}): {' '.join(why.split())}"


def _place(error: BaseException | None) -> tuple[str, int, str]:
    """Say where it was: in words, as a port (0 for none), and what else could be chosen."""
    interface, port = getattr(error, "interface", None), getattr(error, "port", None)
    if isinstance(port, int):
        return f"port {port} on {interface or 'every address'}", port, "port"
    if port:
        return f"unix socket {_text(port)}", 0, "path"
    return "the endpoint", 0, "endpoint"


def _text(path: str | bytes) -> str:
    return path.decode(errors="backslashreplace") if isinstance(path, bytes) else path


# -- reading ------------------------------------------------------------------------------------------------------


class _Unusable(Exception):
    """An endpoint string is not what was expected."""

    def __init__(self, expected: str, hint: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.hint = hint


def _endpoint(
    text: str,
    reactor: Any,  # noqa: ANN401  any reactor
    clients: Clients | None,
    renewal: Renewal,
) -> Opening:
    (kind, *words), ours = _without_ours(text)
    text = ":".join([kind, *words])
    if ours.device:
        reactor = OnDevice(reactor, ours.device)
    found = [(word, _KEYWORD.fullmatch(word)) for word in words]
    values = [_unescaped(word) for word, keyword in found if not keyword]
    keywords = [(_unescaped(keyword[1]), _unescaped(keyword[2])) for _, keyword in found if keyword]
    if kind == "tls" and not any(values) and "path" not in dict(keywords):
        return _tls(reactor, _arguments("tls", _HPFEEDS_TLS, [], keywords), clients, renewal)
    if kind in _KEYWORDS:
        given = _arguments(kind, _KEYWORDS[kind], values, keywords)
        if kind == "tls" and not Path(given["path"]).is_dir():
            raise _Unusable("a directory of certificates", f"{given['path']} is none")
        if kind == "tls":
            return _tls_directory(reactor, given, clients, renewal)
        if kind == "ssl":
            return _tls(reactor, _as_hpfeeds_writes_it(given), clients, renewal)
    if clients is not None:
        raise _Unusable("TLS, as client_ca stands beside it", _EXAMPLES["tls"])
    endpoint = _by_twisted(text, kind, reactor)
    return Opening(endpoint, endpoint)


def _without_ours(text: str) -> tuple[list[str], Said]:
    """Give the words of a string without the keywords that are ours, and what those say."""
    kind, *words = _joined(_words(text))
    rest = [kind]
    given: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition("=")
        if not (value and _is_ours(kind, key, value)):
            rest.append(word)
        elif key in given:
            raise _Unusable(f"{key} once")
        else:
            given[key] = _unescaped(value)
    return rest, _read_ours(given)


def _is_ours(kind: str, key: str, value: str) -> bool:
    """Say whether a keyword is ours: a unix socket's own ``mode`` is a number, and it has no device."""
    if key == "mode" and (kind == "unix" or kind not in _KEYWORDS):
        return value in BARRED
    return key in _OURS and not (key == "device" and kind in {"unix", "systemd"})


def _read_ours(given: dict[str, str]) -> Said:
    mode, device = given.get("mode", ""), given.get("device", "")
    if mode and mode not in BARRED:
        raise _Unusable(f"mode as one of {', '.join(BARRED)}", f"{mode!r} is none")
    if device and (wrong := wrong_device(device)):
        raise _Unusable("device as the name of a network interface", wrong)
    networks = tuple(given["networks"].split(",")) if "networks" in given else ()
    if not _are_networks(given.get("networks", "::")):
        raise _Unusable("networks such as 10.0.0.0/8,::1 with commas between", f"{given['networks']!r} is none")
    return Said(mode, networks, device)


def _joined(words: list[str]) -> list[str]:
    """Put an IPv6 address together again that its own colons have cut; the longest that is one."""
    done: list[str] = []
    i = 0
    while i < len(words):
        word = words[i]
        i += 1
        key, _, value = word.partition("=")
        fits = _COLONED.get(key)
        end = i
        while fits and end < len(words) and "=" not in words[end]:
            end += 1
        for stop in range(end, i, -1):
            whole = ":".join([value, *words[i:stop]])
            if fits and fits(whole):
                word, i = f"{key}={whole.strip('[]')}".replace(":", r"\:"), stop
                break
        done.append(word)
    return done


def _is_ipv6(text: str) -> bool:
    return isIPv6Address(text[1:-1] if text.startswith("[") and text.endswith("]") else text)


def _are_networks(text: str) -> bool:
    try:
        read_networks(text.split(","), "")
    except ConfigError:
        return False
    return True


_COLONED = {"interface": _is_ipv6, "networks": _are_networks}


def _words(text: str) -> list[str]:
    """Split at each colon that no backslash stands before; the backslashes stay."""
    words = [""]
    letters = iter(text)
    for letter in letters:
        if letter == ":":
            words.append("")
        elif letter == "\\":
            words[-1] += letter + _after_backslash(letters)
        else:
            words[-1] += letter
    return words


def _after_backslash(letters: Any) -> str:  # noqa: ANN401  an iterator of str
    letter: str | None = next(letters, None)
    if letter is None:
        raise _Unusable("something behind the last backslash", r"a backslash itself is written \\")
    return letter


def _unescaped(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word, flags=re.DOTALL)


def _arguments(kind: str, names: tuple[str, ...], values: list[str], keywords: list[tuple[str, str]]) -> dict[str, str]:
    """Give what was said, by keyword, when it is complete and each thing was said once."""
    if len(values) > len(names):
        raise _Unusable(f"{kind}: with at most {len(names)} values", _COLONS)
    given = dict(zip(names, values, strict=False))
    for key, value in keywords:
        if key not in names:
            raise _unknown_keyword(kind, names, key)
        if key in given:
            raise _Unusable(f"{key} once", _COLONS)
        given[key] = value
    if not given.get(names[0]):
        raise _Unusable(f"{kind}: with {names[0]}=", _EXAMPLES.get(kind, ""))
    _check_numbers(given)
    return given


def _unknown_keyword(kind: str, names: tuple[str, ...], key: str) -> _Unusable:
    if key in _HPFEEDS_TLS and kind in {"tcp", "tcp6"}:
        hint = f"{key}= is for tls:, {kind}: would be plain text"
    elif key in _HPFEEDS_TLS and kind == "tls":
        hint = f"with {key}= the port is written port=, {_EXAMPLES['tls']}"
    else:
        hint = _suggestion(key, names) or f"{kind}: does not know {key}="
    ours = [one for one in _OURS if one not in names and not (one == "device" and kind in {"unix", "systemd"})]
    return _Unusable(f"keywords out of {', '.join([*names, *ours])}", hint)


def _check_numbers(given: dict[str, str]) -> None:
    for key, most in (("port", MAX_PORT), ("backlog", 2**31 - 1)):
        value = given.get(key, "0")
        if not re.fullmatch("[0-9]{1,10}", value) or int(value) > most:
            raise _Unusable(f"{key} as a whole number from 0 to {most}", f"{value!r} is none")


def _suggestion(word: str, known: Any) -> str:  # noqa: ANN401  any iterable of str
    near = get_close_matches(word.lower(), known, 1)
    return f"did you mean {near[0]}?" if near else ""


# -- building -----------------------------------------------------------------------------------------------------


def _by_twisted(text: str, kind: str, reactor: Any) -> IStreamServerEndpoint:  # noqa: ANN401  any reactor
    """Let Twisted, or one of its plugins, read the string."""
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except OSError as error:
        raise _unreadable(error) from None
    except Exception as error:
        if kind == "systemd" and isinstance(error, LookupError):
            raise _Unusable("a socket that systemd has handed over", "see `man systemd.socket`") from None
        if str(error).startswith("Unknown endpoint type"):
            raise _unknown_type(text, kind) from None
        why = " ".join(str(error).split()) or type(error).__name__
        raise _Unusable(f"a usable {kind}: endpoint", why) from None
    return endpoint


def _unknown_type(text: str, kind: str) -> _Unusable:
    address = _ADDRESS.fullmatch(text)
    if address:
        interface = f":interface={address[1]}" if address[1] else ""
        hint = f"did you mean tcp:port={address[2]}{interface}?"
    else:
        hint = _suggestion(kind, _KEYWORDS) or _EXAMPLES["tcp"]
    return _Unusable(f"a type of endpoint: {', '.join(_KEYWORDS)} or another one that Twisted knows", hint)


def _unreadable(error: OSError) -> _Unusable:
    return _Unusable("a file that can be read", f"{_text(error.filename or '')}: {error.strerror or error}")


def _tls(
    reactor: Any,  # noqa: ANN401  any reactor
    given: dict[str, str],
    clients: Clients | None,
    renewal: Renewal,
) -> Opening:
    """Give TLS as hpfeeds writes it."""
    key, cert, chain = given.get("key", "key.pem"), given.get("cert", "cert.pem"), given.get("chain")
    served = renewal.pair(key, cert, chain, clients)
    port, interface, backlog = int(given["port"]), given.get("interface", ALL), int(given.get("backlog", BACKLOG))
    below = TCP4ServerEndpoint(reactor, port, backlog, interface)
    return _secured(below, served, reactor)


def _tls_directory(
    reactor: Any,  # noqa: ANN401  any reactor
    given: dict[str, str],
    clients: Clients | None,
    renewal: Renewal,
) -> Opening:
    """Give TLS with a directory, which Twisted's own would not read again for a name that it knows."""
    port, interface, backlog = int(given.get("port", 443)), given.get("interface", "::"), given.get("backlog", BACKLOG)
    below = TCP6ServerEndpoint(reactor, port, int(backlog), interface)
    served = renewal.directory(given["path"], clients)
    return _secured(below, served, reactor)


def _secured(below: IStreamServerEndpoint, served: Served, reactor: Any) -> Opening:  # noqa: ANN401  any reactor
    from brokerkit.tls_layer import Secured  # only TLS needs it, and it is slow to load

    return Opening(Secured(below, served, reactor), below, served)


def _as_hpfeeds_writes_it(given: dict[str, str]) -> dict[str, str]:
    """Translate the keywords of ``ssl:``."""
    for key in ("sslmethod", "dhParameters"):
        if key in given:
            raise _Unusable(f"ssl: without {key}=", "TLS is 1.2 or later, with keys by elliptic curves")
    key = given.get("privateKey", "server.pem")
    found = {**given, "key": key, "cert": given.get("certKey", key), "interface": given.get("interface", "")}
    return {**found, "chain": given["extraCertChain"]} if "extraCertChain" in given else found
