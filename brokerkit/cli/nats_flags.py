"""nats-server's command line: flags as Go reads them, put on top of what a file says.

One dash or two, the value behind ``=`` or a blank; a switch takes no value but ``=true`` or ``=false``.  What stands
for a part of nats-server that is not here is taken with a warning, so that scripts and test suites go on.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.errors import OperatorError
from brokerkit.protocols.nats.conf.fields import MAX_PORT
from brokerkit.protocols.nats.conf.server import Authorization, Server, Tls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LENIENT = "BROKERKIT_LENIENT"
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})

# Each flag: its names, what kind it is, the attribute of ``Flags``.
_TEXT, _WHOLE, _SWITCH = "text", "whole", "switch"
_KNOWN: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("a", "addr", "net"), _TEXT, "host"),
    (("p", "port"), _WHOLE, "port"),
    (("n", "name", "server_name"), _TEXT, "name"),
    (("P", "pid"), _TEXT, "pid_file"),
    (("m", "http_port"), _WHOLE, "http_port"),
    (("ms", "https_port"), _WHOLE, "https_port"),
    (("c", "config"), _TEXT, "config"),
    (("t",), _SWITCH, "test"),
    (("sl", "signal"), _TEXT, "signal"),
    (("client_advertise",), _TEXT, "client_advertise"),
    (("ports_file_dir",), _TEXT, "ports_file_dir"),
    (("l", "log"), _TEXT, "log_file"),
    (("T", "logtime"), _SWITCH, "logtime"),
    (("logtime_utc",), _SWITCH, "logtime_utc"),
    (("D", "debug"), _SWITCH, "debug"),
    (("V", "trace", "VV"), _SWITCH, "trace"),
    (("DV", "DVV"), _SWITCH, "debug_and_trace"),
    (("user",), _TEXT, "user"),
    (("pass",), _TEXT, "password"),
    (("auth",), _TEXT, "token"),
    (("tls",), _SWITCH, "tls"),
    (("tlscert",), _TEXT, "tlscert"),
    (("tlskey",), _TEXT, "tlskey"),
    (("tlsverify",), _SWITCH, "tlsverify"),
    (("tlscacert",), _TEXT, "tlscacert"),
    (("lenient",), _SWITCH, "lenient"),
    (("h", "help"), _SWITCH, "help"),
    (("help_tls",), _SWITCH, "help_tls"),
    (("v", "version"), _SWITCH, "version"),
)
# Those of what is not here; they change nothing.
_ELSEWHERE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("js", "jetstream", "s", "syslog"), _SWITCH),
    (("sd", "store_dir", "r", "remote_syslog"), _TEXT),
    (("cluster", "cluster_name", "cluster_listen", "cluster_advertise", "routes"), _TEXT),
    (("no_advertise",), _SWITCH),
    (("connect_retries", "profile"), _WHOLE),
)
# Those that make no difference here, and are no loss.
_QUIET: tuple[tuple[tuple[str, ...], str], ...] = ((("log_size_limit", "max_traced_msg_len"), _WHOLE),)

_KINDS = {name: kind for names, kind, _ in _KNOWN for name in names}
_KINDS |= {name: kind for names, kind in (*_ELSEWHERE, *_QUIET) for name in names}
_ATTRIBUTES = {name: attribute for names, _, attribute in _KNOWN for name in names}
_WARNED = frozenset(name for names, _ in _ELSEWHERE for name in names)


class Misused(OperatorError):
    """The command line is not what it can be; the usage is shown beneath."""


@attrs.define
class Flags:
    """What the command line says; ``None`` where it says nothing."""

    config: str | None = None
    host: str | None = None
    port: int | None = None
    name: str | None = None
    client_advertise: str | None = None
    http_port: int | None = None
    https_port: int | None = None
    pid_file: str | None = None
    ports_file_dir: str | None = None
    log_file: str | None = None
    logtime: bool | None = None
    logtime_utc: bool | None = None
    debug: bool | None = None
    trace: bool | None = None
    debug_and_trace: bool | None = None
    user: str | None = attrs.field(default=None, repr=False)
    password: str | None = attrs.field(default=None, repr=False)
    token: str | None = attrs.field(default=None, repr=False)
    tls: bool | None = None
    tlscert: str | None = None
    tlskey: str | None = None
    tlsverify: bool | None = None
    tlscacert: str | None = None
    lenient: bool = False
    signal: str | None = None
    test: bool = False
    help: bool = False
    help_tls: bool = False
    version: bool = False
    warnings: list[str] = attrs.field(factory=list)


def read(words: Sequence[str]) -> Flags:
    """Read a command line; raise ``Misused``."""
    flags = Flags(lenient=os.environ.get(LENIENT, "") in _TRUE)
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        _take(flags, word.removeprefix("-").removeprefix("-"), rest)
    if rest:
        _command(flags, rest[0])
    return flags


def _take(flags: Flags, word: str, rest: list[str]) -> None:
    name, equals, value = word.partition("=")
    kind = _KINDS.get(name)
    if kind is None:
        near = get_close_matches(name, _KINDS, 1)
        raise Misused(f"flag provided but not defined: -{name}{f' (did you mean -{near[0]}?)' if near else ''}")
    if kind == _SWITCH:
        value = value if equals else "true"
    elif not equals:
        if not rest:
            raise Misused(f"flag needs an argument: -{name}")
        value = rest.pop(0)
    found = _READ[kind](name, value)
    if name in _WARNED:
        flags.warnings.append(f"-{name}: brokerkit has nothing of that yet; ignored")
    elif name in _ATTRIBUTES:
        setattr(flags, _ATTRIBUTES[name], found)


def _text(_: str, value: str) -> str:
    return value


def _whole(name: str, value: str) -> int:
    try:
        return int(value, 0)
    except ValueError:
        raise Misused(f"invalid value {value!r} for flag -{name}: a whole number is expected") from None


def _switch(name: str, value: str) -> bool:
    if value not in _TRUE | _FALSE:
        raise Misused(f"invalid value {value!r} for flag -{name}: true or false is expected")
    return value in _TRUE


_READ: dict[str, Callable[[str, str], Any]] = {_TEXT: _text, _WHOLE: _whole, _SWITCH: _switch}


def _command(flags: Flags, word: str) -> None:
    if word == "version":
        flags.version = True
    elif word == "help":
        flags.help = True
    else:
        raise OperatorError(f'unrecognized command: "{word}"')


# -- on top of a file ---------------------------------------------------------------------------------------------

_SAME = (
    "host", "port", "name", "client_advertise", "http_port", "https_port", "pid_file", "ports_file_dir", "log_file",
    "logtime", "logtime_utc", "debug", "trace",
)  # fmt: skip


def put_on(flags: Flags, server: Server) -> Server:
    """Put flags on top of what a file says; raise ``OperatorError`` for what cannot be meant."""
    for key in _SAME:
        value = getattr(flags, key)
        if value is not None:
            setattr(server, key, value)
    if flags.debug_and_trace is not None:
        server.debug = server.trace = flags.debug_and_trace
    _check_ports(server)
    if any(letter.isspace() for letter in server.name):
        raise OperatorError("server name cannot contain spaces")
    _put_authorization(flags, server)
    _put_tls(flags, server)
    server.warnings = [*flags.warnings, *server.warnings]
    return server


def _check_ports(server: Server) -> None:
    for key in ("port", "http_port", "https_port"):
        if not -1 <= getattr(server, key) <= MAX_PORT:
            raise OperatorError(f"invalid port {getattr(server, key)} for -{key}: from 0 to 65535, or -1 for any")
    if server.port == 0:
        server.port = Server().port


def _put_authorization(flags: Flags, server: Server) -> None:
    """Have a user or token of the command line take the place of everybody in the file, as nats-server does."""
    if flags.user is None and flags.password is None and flags.token is None:
        return
    former = server.authorization
    server.authorization = Authorization(
        user=flags.user or "",
        password=flags.password or "",
        token=flags.token or "" if not flags.user else "",
        timeout=former.timeout,
        permissions=former.permissions,
        default_permissions=former.default_permissions,
    )
    if any(account.users for account in server.accounts.values()):
        raise OperatorError("--user, --pass and --auth exclude the users of accounts in the file")


def _put_tls(flags: Flags, server: Server) -> None:
    wanted = flags.tls or flags.tlsverify or flags.tlscert or flags.tlskey or flags.tlscacert
    if not wanted:
        return
    found = server.tls or Tls()
    cert, key = flags.tlscert or found.cert_file, flags.tlskey or found.key_file
    if not (cert and key):
        raise OperatorError("TLS Server certificate must be present and valid: give --tlscert and --tlskey")
    found.cert_file, found.key_file = _readable(cert), _readable(key)
    if flags.tlscacert:
        found.ca_file = _readable(flags.tlscacert)
    if flags.tlsverify is not None:
        found.verify = flags.tlsverify
    if found.verify and not found.ca_file:
        raise OperatorError("--tlsverify needs --tlscacert, the authority that clients' certificates are of")
    server.tls = found


def _readable(path: str) -> str:
    try:
        with open(path, "rb"):  # noqa: PTH123  nothing is read
            return os.path.abspath(path)  # noqa: PTH100  resolve would follow today's links
    except (OSError, ValueError) as error:
        raise OperatorError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
