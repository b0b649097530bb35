"""``bpbroker.json``: configuration and registry in one file, as the original has it, read with care and merged deeply.

Each top-level member is a section: settings (``api``, ``worker`` and what begins with ``_``), the built-in packages
``ping`` and ``services``, and one for each extension that may be called.  The entries of the registry are the members
of ``services``; an ``_access_key`` in a section guards it.
"""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.errors import ConfigError, OperatorError, Words
from brokerkit.protocols.bpbroker.settings import BACKUP_FREQ, BACKUP_RETAIN, HEALTHCHECK_FREQ, PORT, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

GLOBAL = "/usr/local/bpbroker/etc/bpbroker.json"
KEY = "_access_key"
HIDDEN = "_"
ADDED = ("last_write_ip", "last_write_ts")
MAX_SIZE = 1024 * 1024 * 1024  # bytes of a file
NOT_CALLED = frozenset({"api", "worker", "ping", "services"})  # sections that are no extensions
LATEST = 2**53  # a moment that is later was not written by a broker
AGAIN = "import_again"  # in ``_config``: take the file's registry in place of what is there, at the next start

DEFAULTS: Mapping[str, Any] = {
    "api": {"listen_port": PORT, "listen_ip": "", "ssl_cert": "", "ssl_key": ""},
    "worker": {},
    "_global": {"healthcheck_freq_sec": int(HEALTHCHECK_FREQ)},
    "_config": {"backup_freq_secs": int(BACKUP_FREQ), "backup_retain_n": BACKUP_RETAIN},
    "ping": {},
    "services": {},
}

Document = dict[str, dict[str, Any]]


@attrs.frozen
class Imported:
    """An entry of a file: its data without what the broker adds, and where and when it was written, if that is said."""

    name: str
    data: dict[str, Any]
    written: tuple[str, int] | None


def read(path: str | Path) -> Document:
    """Read a file; raise ``OperatorError`` naming file, line or key for what cannot be used, or is not there."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  it may be a str
            content = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise OperatorError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_SIZE:
        raise OperatorError(f"{path}: found more than {MAX_SIZE} bytes, expected a bpbroker.json")
    return parse(content, str(path))


def parse(content: bytes, where: str) -> Document:
    """Read the content of a file called ``where``; raise ``OperatorError`` as ``read`` does."""
    try:
        found = json.loads(content)
    except json.JSONDecodeError as error:
        raise OperatorError(f"{where}:{error.lineno}: is no JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise OperatorError(f"{where}: is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(where, "file", Words(_kind(found)), "an object of sections")
    for name, section in found.items():
        if not isinstance(section, dict):
            raise ConfigError(where, name, Words(_kind(section)), "an object")
        _check_key(section, f"{name}.{KEY}", where)
    return found


def _check_key(section: dict[str, Any], name: str, where: str) -> None:
    """Raise ``ConfigError`` for an access key that is no text, without showing it."""
    key = section.get(KEY)
    if key is not None and not isinstance(key, str):
        raise ConfigError(where, name, Words(_kind(key)), "a string")


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Put ``above`` over ``below``, object by object; nothing of either is changed, and nothing is ever taken away."""
    merged = dict(below)
    for name, value in above.items():
        former = merged.get(name)
        both = isinstance(former, dict) and isinstance(value, dict)
        merged[name] = merge(former, value) if both else value  # type: ignore[arg-type]
    return merged


def layers(paths: Iterable[str | Path], said: Mapping[str, Any] | None = None) -> Document:
    """Give the defaults with the files over them that are there, each over those before, and ``said`` on top.

    Raises ``OperatorError``.
    """
    found: Document = merge(DEFAULTS, {})
    for path in paths:
        if os.path.exists(path):  # noqa: PTH110  any kind of path
            found = merge(found, read(path))
    return merge(found, said or {})


def of(settings: Settings | None) -> Document:
    """Give the defaults with the files over them that a listener is told to read; raise ``OperatorError``."""
    return layers(files(settings)) if settings is not None else layers([])


def files(settings: Settings) -> list[str]:
    """Give the files that a listener is told to read, each over those before."""
    return [path for path in (settings.below, settings.config) if path]


def entries(document: Document) -> list[Imported]:
    """Give the entries of a document's registry; what begins with ``_`` is none."""
    return [_imported(name, value) for name, value in document.get("services", {}).items() if _is_entry(name)]


def _is_entry(name: str) -> bool:
    return bool(name) and not name.startswith(HIDDEN)


def _imported(name: str, value: object) -> Imported:
    """Take an entry; what is no object was not written by a broker, and becomes text."""
    if not isinstance(value, dict):
        return Imported(name, {"_str": value if isinstance(value, str) else json.dumps(value)}, None)
    ip, ts = value.get(ADDED[0]), value.get(ADDED[1])
    written = (ip, int(ts)) if isinstance(ip, str) and isinstance(ts, int | float) and 0 <= ts < LATEST else None
    return Imported(name, {key: one for key, one in value.items() if key not in ADDED}, written)


def without_entries(document: Document) -> Document:
    """Give the document with nothing in its registry but what is no entry; nothing of it is changed."""
    return view(document, {}) if "services" in document else dict(document)


def access_keys(document: Document) -> dict[str, str]:
    """Give the access key of each section that has one."""
    return {name: section[KEY] for name, section in document.items() if section.get(KEY)}


def extensions(document: Document) -> dict[str, dict[str, Any]]:
    """Give the sections that stand for extensions: their names are those of the modules that may be called."""
    return {
        name: section for name, section in document.items() if name not in NOT_CALLED and not name.startswith(HIDDEN)
    }


def view(document: Document, found: Mapping[str, Any]) -> Document:
    """Give the document with these entries as its registry, and everything else as it is."""
    kept = {name: value for name, value in document.get("services", {}).items() if not _is_entry(name)}
    return {**document, "services": {**kept, **found}}


def settings(document: Document, where: str, settings: Settings | None = None) -> Settings:
    """Give the settings with what the document says filled in where they leave it open; raise ``ConfigError``."""
    settings = settings or Settings()
    told: dict[str, Any] = {}
    for section, name, kind in (
        ("_global", "healthcheck_freq_sec", float),
        ("_config", "backup_freq_secs", float),
        ("_config", "backup_retain_n", int),
    ):
        if getattr(settings, name) is None:
            default = DEFAULTS[section][name]
            told[name] = kind(_number(document.get(section, {}).get(name, default), f"{section}.{name}", where))
    return attrs.evolve(settings, **told)


def of_api(document: Document, where: str) -> tuple[str, Settings]:
    """Give the endpoint and the settings that the section ``api`` describes; raise ``ConfigError``.

    Beside the original's ``listen_port``, ``listen_ip``, ``ssl_cert`` and ``ssl_key`` it may hold any key of
    ``Settings``.
    """
    api = document.get("api", {})
    names = {field.name: field for field in attrs.fields(Settings) if field.name not in {"config", "below"}}
    told: dict[str, Any] = {}
    for name, value in api.items():
        if name in names:
            told[name] = _told(value, getattr(Settings(), name), f"api.{name}", where)
    return _endpoint(api, where), settings(document, where, Settings(**told))


def _endpoint(api: dict[str, Any], where: str) -> str:
    port = _number(api.get("listen_port", PORT), "api.listen_port", where)
    if type(port) is not int or port > 0xFFFF:  # noqa: PLR2004
        raise ConfigError(where, "api.listen_port", port, "a port from 0 to 65535")
    words = ["tls", f"port={port}"]
    if not api.get("listen_ip") and socket.has_dualstack_ipv6():
        words.append("interface=" + escaped("::"))  # all of IPv4 and of IPv6
    for key, word in (("listen_ip", "interface"), ("ssl_key", "key"), ("ssl_cert", "cert")):
        value = api.get(key, "")
        if not isinstance(value, str):
            raise ConfigError(where, f"api.{key}", Words(_kind(value)), "a string")
        if value:
            words.append(f"{word}={escaped(value)}")
    return ":".join(words)


def escaped(value: str) -> str:
    """Give a value as it stands in an endpoint."""
    return value.replace("\\", "\\\\").replace(":", "\\:")


def _told(value: object, default: object, name: str, where: str) -> Any:  # noqa: ANN401  a value of Settings
    """Give a value of the kind that the default has."""
    if isinstance(default, bool | str):
        if type(value) is not type(default):
            expected = "true or false" if isinstance(default, bool) else "a string"
            raise ConfigError(where, name, Words(_kind(value)), expected)
        return value
    if isinstance(default, tuple):
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ConfigError(where, name, Words(_kind(value)), "a list of strings")
        return tuple(value)
    return _number(value, name, where)


def _number(value: object, name: str, where: str) -> Any:  # noqa: ANN401  an int or a float
    if type(value) not in {int, float} or not 0 <= value < 2**53:  # type: ignore[operator]
        shown = value if type(value) in {int, float} else Words(_kind(value))
        raise ConfigError(where, name, shown, "a number, not negative")
    return value


def _kind(value: object) -> str:
    """Say what a value is without showing it."""
    if value is None:
        return "null"
    kinds = {bool: "a boolean", str: "a string", list: "a list", dict: "an object"}
    return kinds.get(type(value), "a number")
