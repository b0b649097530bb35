"""What the operator wrote, as one frozen tree.

A file (TOML) is structured by cattrs into attrs classes: ``Config``, a ``Listen`` for each ``[[listen]]`` table and, in
it, the settings class that the protocol's plugin names.  Nothing is coerced and nothing is ignored: a value of another
type, a key that nobody knows and a protocol that is not installed each end the start with one line that names the
file, the key, what was found and what was expected.  Flags are put on top of the file by ``merge``.
"""

from __future__ import annotations

import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from sys import float_info
from typing import TYPE_CHECKING, Any

import attrs
from cattrs import ClassValidationError, Converter, IterableValidationError
from cattrs.gen import make_dict_structure_fn
from twisted.internet.abstract import isIPv6Address

from brokerkit import topics
from brokerkit.checkers.entry import DEFAULT_RIGHTS, Entry, read_all
from brokerkit.errors import ConfigError, OperatorError, Words
from brokerkit.keep import Keep
from brokerkit.keep_tables import checked
from brokerkit.metric_styles import MODERN, STYLES
from brokerkit.tenant import Tenant  # noqa: TC001  cattrs reads the annotations
from brokerkit.tenant_tables import read_tenants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from brokerkit.interfaces import IProtocolPlugin

FLAGS = "command line"  # the source that messages about flags name
LOOPBACK = "127.0.0.1"
MAX_PORT = 0xFFFF

_EXPORTER = re.compile(r"(?:(?P<host>[\w.-]*|\[[0-9a-f:.]+\]):)?(?P<port>[0-9]{1,5})", re.ASCII | re.IGNORECASE)
_BARE_KEY = re.compile(r"[\w-]+", re.ASCII)
_USER_HEADER = re.compile(r"\s*\[\[\s*(users|\"users\"|'users')\s*\]\]")


@attrs.frozen
class Listen:
    """One endpoint of one protocol.

    ``settings`` is an instance of the class that the protocol's plugin names; ``None`` stands for its defaults.  What
    is asked of clients' certificates is read by ``brokerkit.tls``; from where one may connect, and for what (``mode``),
    by ``brokerkit.entrance``.  Where a ``tenant`` is named, users of others are refused;
    ``no_auth_user`` is who gives no credentials, if anybody may do so.
    """

    protocol: str
    endpoint: str
    topic_prefix: str = ""
    settings: Any = None
    client_ca: str | None = None
    client_certificate: str | None = None
    certificate_user: str | None = None
    certificate_pattern: str | None = None
    mode: str = "both"
    networks: tuple[str, ...] = ()
    tenant: str | None = None
    no_auth_user: str = ""


@attrs.frozen
class Config:
    """Everything that a broker is told; ``source`` is the file's name, for messages.

    ``login_deadline`` is the seconds that a source of users may take for an answer, ``login_cache`` the seconds that
    an answer of a database is good for.  ``hpfeeds_metrics`` says how the metrics of hpfeeds-broker are called, if they
    are exported at all.  ``registry_prefix`` is the topic below which changes of the registry are published; empty:
    they are not.
    """

    name: str = "brokerkit"
    data_dir: str | None = None
    exporter: str | None = None
    auth: tuple[str, ...] = ()
    login_deadline: float = 1.5
    login_cache: float = 2.0
    users: tuple[Entry, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    keep: tuple[Keep, ...] = ()
    listen: tuple[Listen, ...] = ()
    hpfeeds_metrics: str = MODERN
    registry_prefix: str = "registry"
    source: str = "configuration"


_TABLES = {"tenants": "tenant"}  # what a list of tables is headed, where that is not the field's name
_TOP_KEYS = (
    *(_TABLES.get(field.name, field.name) for field in attrs.fields(Config) if field.name != "source"),
    DEFAULT_RIGHTS,
)
_READ_APART = ("users", "tenant", DEFAULT_RIGHTS)
_LISTEN_KEYS = tuple(field.name for field in attrs.fields(Listen) if field.name != "settings")


def load(path: str, plugins: Mapping[str, IProtocolPlugin]) -> Config:
    """Read a TOML file; raise ``OperatorError`` if it cannot be read, is no TOML or says what cannot be meant."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        raise OperatorError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise OperatorError(f"{path}: is no TOML: {error}") from None
    return structure(data, plugins, path, _user_lines(text))


def structure(
    data: Mapping[str, object], plugins: Mapping[str, IProtocolPlugin], source: str, user_lines: Sequence[int] = ()
) -> Config:
    """Make a ``Config`` of what a file named ``source`` says; raise ``ConfigError`` for the first thing that is wrong.

    A relative ``data_dir`` is relative to that file.  ``user_lines`` are the lines of its ``[[users]]``, if known.
    """
    try:
        _check_keys(data, _TOP_KEYS)
        others = {key: value for key, value in _with_list(data).items() if key not in _READ_APART}
        config = _converter(plugins).structure({**others, "source": source}, Config)
        _check_prefix(config.registry_prefix, ".registry_prefix")
    except (_Unfit, ClassValidationError, IterableValidationError) as error:
        raise _explain(error, source) from None
    if config.exporter is not None:
        parse_exporter(config.exporter, source)
    if config.hpfeeds_metrics not in STYLES:
        raise ConfigError(source, "hpfeeds_metrics", config.hpfeeds_metrics, f"one of {', '.join(STYLES)}")
    return attrs.evolve(
        config,
        data_dir=_absolute(config.data_dir, Path(source).parent, source),
        keep=checked(config.keep, source),
        users=read_all(data.get("users", ()), source, user_lines, data.get(DEFAULT_RIGHTS)),
        tenants=read_tenants(data.get("tenant", ()), source),
    )


def _user_lines(text: str) -> list[int]:
    """Give the lines that are headed [[users]]; one too many, such as within a string, and they are not used."""
    return [number for number, line in enumerate(text.splitlines(), 1) if _USER_HEADER.match(line)]


def merge(
    config: Config,
    *,
    name: str | None,
    data_dir: str | None,
    exporter: str | None,
    auth: tuple[str, ...],
    listen: tuple[Listen, ...],
    hpfeeds_metrics: str | None = None,
) -> Config:
    """Put flags on top of a file.

    ``auth`` replaces the file's list if it is not empty, ``listen`` is added to the file's, and what is ``None`` leaves
    what the file says.  A relative ``data_dir`` is relative to the working directory.  Raises ``ConfigError``.
    """
    if exporter is not None:
        parse_exporter(exporter, FLAGS)
    if hpfeeds_metrics not in {None, *STYLES}:
        raise ConfigError(FLAGS, "hpfeeds-metrics", hpfeeds_metrics, f"one of {', '.join(STYLES)}")
    return attrs.evolve(
        config,
        name=config.name if name is None else name,
        data_dir=config.data_dir if data_dir is None else _absolute(data_dir, Path(), FLAGS),
        exporter=config.exporter if exporter is None else exporter,
        hpfeeds_metrics=config.hpfeeds_metrics if hpfeeds_metrics is None else hpfeeds_metrics,
        auth=auth or config.auth,
        listen=config.listen + listen,
    )


def parse_exporter(text: str, where: str) -> tuple[str, int]:
    """Give the host and the port of ``HOST:PORT``, ``:PORT`` or ``PORT``; without a host it is loopback.

    Raises ``ConfigError`` naming ``where``.
    """
    found = _EXPORTER.fullmatch(text)
    host = (found and found["host"]) or LOOPBACK
    wrong_ipv6 = host.startswith("[") and not isIPv6Address(host[1:-1])
    if found is None or int(found["port"]) > MAX_PORT or wrong_ipv6:
        hint = "an IPv6 address stands in brackets, as in [::1]:9431" if text.count(":") > 1 else ""
        raise ConfigError(where, "exporter", text, "HOST:PORT, :PORT or PORT, with a port from 0 to 65535", hint)
    return host.strip("[]"), int(found["port"])


def _absolute(directory: str | None, base: Path, where: str) -> str | None:
    if directory is None:
        return None
    if not directory or "\0" in directory:
        raise ConfigError(where, "data_dir", directory, "the path of a directory")
    return str((base / directory).absolute())


# -- structuring --------------------------------------------------------------------------------------------------


class _Unfit(Exception):
    """A value cannot be meant; ``key`` leads to it from the table or list that is being structured."""

    def __init__(self, found: object, expected: str, *, key: str = "", hint: str = "") -> None:
        super().__init__(expected)
        self.found = found
        self.expected = expected
        self.key = key
        self.hint = hint


def _converter(plugins: Mapping[str, IProtocolPlugin]) -> Converter:
    """Give a converter that takes values as they are, or not at all."""
    converter = Converter()
    converter.register_structure_hook(bool, _value("true or false", lambda value: isinstance(value, bool)))
    converter.register_structure_hook(str, _value("a string", lambda value: isinstance(value, str)))
    converter.register_structure_hook(int, _value("a whole number, not negative", _is_whole))
    converter.register_structure_hook(float, _value("a number, not negative", _is_number, float))
    converter.register_structure_hook_func(lambda kind: kind == tuple[str, ...], _strings)
    converter.register_structure_hook_func(lambda kind: kind == tuple[Listen, ...], _tables(converter, Listen))
    converter.register_structure_hook(Listen, _listen(converter, plugins))
    converter.register_structure_hook_func(lambda kind: kind == tuple[Keep, ...], _tables(converter, Keep))
    converter.register_structure_hook(Keep, _keep(converter))
    return converter


def _value(expected: str, fits: Callable[[Any], bool], make: Callable[[Any], Any] | None = None) -> Callable[..., Any]:
    """Give a hook that lets through what ``fits``."""

    def hook(value: object, _: object) -> object:
        if not fits(value):
            raise _Unfit(value, expected)
        return make(value) if make else value

    return hook


def _is_whole(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: object) -> bool:
    return type(value) in {int, float} and 0 <= value <= float_info.max  # type: ignore[operator]


def _strings(value: object, _: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise _Unfit(value, "a list of strings")
    for place, text in enumerate(value):
        if not isinstance(text, str):
            raise _Unfit(text, "a string", key=f"[{place}]")
    return tuple(value)


def _tables(converter: Converter, kind: type) -> Callable[..., tuple[Any, ...]]:
    """Give the hook for a list of tables, each of which is structured as that class."""

    def hook(value: object, _: object) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise _Unfit(value, f"tables that are headed [[{kind.__name__.lower()}]]")
        return tuple(converter.structure(value, list[kind]))  # type: ignore[valid-type]

    return hook


def _keep(converter: Converter) -> Callable[..., Keep]:
    """Give the hook for one ``[[keep]]`` table; one pattern may stand without the brackets of a list."""
    fill = make_dict_structure_fn(Keep, converter)
    known = tuple(field.name for field in attrs.fields(Keep))

    def hook(table: Any, _: object) -> Keep:  # noqa: ANN401  whatever the file says
        if not isinstance(table, dict):
            raise _Unfit(table, "a table that is headed [[keep]]")
        _check_keys(table, known, "keep")
        patterns = table.get("topics", [])
        return fill({**table, "topics": [patterns] if isinstance(patterns, str) else patterns}, Keep)

    return hook


def _listen(converter: Converter, plugins: Mapping[str, IProtocolPlugin]) -> Callable[..., Listen]:
    """Give the hook for one ``[[listen]]`` table; what is no key of all listeners is one of the protocol's settings."""
    fill = make_dict_structure_fn(Listen, converter)

    def hook(table: Any, _: object) -> Listen:  # noqa: ANN401  whatever the file says
        if not isinstance(table, dict):
            raise _Unfit(table, "a table that is headed [[listen]]")
        plugin = _plugin(table, plugins)
        kind = plugin.settings()
        _check_keys(table, (*_LISTEN_KEYS, *(field.name for field in attrs.fields(kind))), "listen")
        own = {key: value for key, value in table.items() if key in _LISTEN_KEYS}
        settings = {key: value for key, value in table.items() if key not in _LISTEN_KEYS}
        listen = fill({"endpoint": plugin.default, **own, "settings": converter.structure(settings, kind)}, Listen)
        _check_prefix(listen.topic_prefix)
        return listen

    return hook


def _plugin(table: Mapping[str, object], plugins: Mapping[str, IProtocolPlugin]) -> Any:  # noqa: ANN401  its settings are a class
    """Give the protocol that the table names."""
    name = table.get("protocol", Words("nothing"))
    if not isinstance(name, str) or name not in plugins:
        raise _Unfit(name, f"one of {', '.join(plugins)}", key=".protocol", hint=_suggestion(name, plugins))
    if "endpoint" not in table and plugins[name].default is None:
        raise _Unfit(Words("nothing"), "an endpoint such as tcp:port=10000", key=".endpoint")
    return plugins[name]


def _check_prefix(prefix: str, key: str = ".topic_prefix") -> None:
    topic = prefix.encode()
    odd = any(letter.isspace() or not letter.isprintable() for letter in prefix)
    if prefix and (odd or topics.has_empty_token(topic) or topics.has_wildcard(topic)):
        raise _Unfit(prefix, "a topic: no blank, no empty token, no wildcard", key=key)


def _with_list(data: Mapping[str, object]) -> Mapping[str, object]:
    """Allow one source of users to stand without the brackets of a list."""
    auth = data.get("auth")
    return {**data, "auth": [auth]} if isinstance(auth, str) else data


def _check_keys(table: Mapping[str, object], known: tuple[str, ...], inside: str = "") -> None:
    for key in table:
        if key in known:
            continue
        shown = key if _BARE_KEY.fullmatch(key) else repr(key)
        hint = _suggestion(key, known)
        if inside and key in _TOP_KEYS:
            hint = f"{key} belongs above the first [[{inside}]]"
        raise _Unfit(Words("an unknown key"), f"one of {', '.join(known)}", key=f".{shown}", hint=hint)


def _suggestion(word: object, known: Iterable[str]) -> str:
    near = get_close_matches(str(word), list(known), 1)
    return f"did you mean {near[0]}?" if near else ""


def _explain(error: Exception, source: str) -> ConfigError:
    """Give the one error to report, out of all that cattrs has gathered, with the key that it is about."""
    key = ""
    while isinstance(error, ClassValidationError | IterableValidationError):
        if isinstance(error, ClassValidationError):
            fields, others = error.group_exceptions()
            steps = [(inner, f".{note.name}") for inner, note in fields]
        else:
            places, others = error.group_exceptions()
            steps = [(inner, f"[{note.index}]") for inner, note in places]
        error, step = [*steps, *((inner, "") for inner in others)][0]
        key += step
    if not isinstance(error, _Unfit):  # a validator of a plugin's own settings class
        error = _Unfit(Words("a value that is not accepted"), str(error.args[0] if error.args else error))
    return ConfigError(source, (key + error.key).removeprefix("."), error.found, error.expected, error.hint)
